"""What the page of an explanation says of itself, for the one whom it is sent to."""

from collections.abc import Iterator


def reading() -> Iterator[str]:
    """Yield what one must know to read the page."""
    yield (
        "Every figure is a mean over the frames, measured by running a network in which only that part is rounded. "
        "Only the floors of the heads are calculated, and what the tables say of noise, channels and ranges comes from "
        "stored statistics."
    )
    yield (
        "Oracle ranges are those of the frames that are judged: about as much as a calibration set can give this "
        "method. Where clipping helps, a set without the widest frames may happen to give more."
    )
    yield (
        "Errors do not add. They cancel, or meet in the same values, so a part may cost more beside the others than "
        "alone, and shares need not sum to 100 %."
    )
    yield (
        "Drowned: one scale serves all channels of a tensor, and its noise may be louder than the signal of a quiet "
        "channel. The figure is the mean over channels of noise power over signal power, 1 at most. It is known "
        "without running anything, and chooses what is measured."
    )
    yield (
        "Tensors and cures were chosen on these frames, so on others they gain a little less. Judge the network that "
        "goes to a board on frames of other recordings."
    )
    yield (
        "An interval says how far a difference would move with other frames of the same kind; blocks of neighbouring "
        "frames are drawn, because neighbours resemble each other."
    )
