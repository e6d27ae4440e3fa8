"""How many frames two sets have that are set beside each other, so that a data set of any size has room for them."""

LARGE = 300  # the guide's size
TIMES = 3  # as the guide's 100 random frames against 300 chosen ones


def compared_sizes(available: int) -> tuple[int, int]:
    """Return the sizes of a random set and of the stratified one that it is compared with.

    The guide compares 100 random frames with 300 stratified ones. Where fewer than 600 frames may be chosen, the larger
    set has half of them, because a set of nearly all frames is the same however it is chosen.

    Parameters
    ----------
    available : int
        Frames that may be chosen, at least 1.

    Returns
    -------
    tuple of (int, int)
        Random, stratified; at least 1 each.

    Examples
    --------
    >>> compared_sizes(10_000), compared_sizes(171), compared_sizes(1)
    ((100, 300), (28, 85), (1, 1))
    """
    stratified = max(1, min(LARGE, available // 2))
    return max(1, stratified // TIMES), stratified
