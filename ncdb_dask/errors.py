"""The errors of ncdb_dask: each says what was found, what was expected and what to do."""


class NcdbError(Exception):
    """Base of every error that a user can cause or cure; the command line prints it as one line."""


class CalibrationError(NcdbError):
    """Calibration frames or statistics that cannot be used as asked."""


class QuantizationError(NcdbError):
    """A network that cannot be quantized as asked."""


class SplitError(NcdbError):
    """A split file that cannot be used as a whole."""


class EvaluationError(NcdbError):
    """An evaluation or a comparison that cannot be made as asked."""


class ExportError(NcdbError):
    """A calibration set that cannot be handed over as asked."""


class PlanError(NcdbError):
    """A request that does not fit what the output folder already holds."""


class SampleError(NcdbError):
    """A calibration set that cannot be chosen as asked."""


class SpecError(NcdbError):
    """A model file that is not as expected, or does not fit its network."""


class StorageError(NcdbError):
    """A folder that cannot be read or written."""


class StudyError(NcdbError):
    """A study that cannot be made as asked."""


class TrainingError(NcdbError):
    """A training that cannot begin as asked, or had to stop; its last good checkpoint is kept."""


class RunError(NcdbError):
    """A run that could not finish; what it finished is kept, and the same command continues it."""


class DataFault(Exception):
    """A fault of one entry's data: it becomes a row with a status, never an error of the run.

    Parameters
    ----------
    status : str
        One of the statuses of the table, for instance ``missing_depth``.
    detail : str
        A sentence for the person who will mend the data.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
