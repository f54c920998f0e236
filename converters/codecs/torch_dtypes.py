"""PyTorch's names of storages and dtypes, and ours."""

from collections.abc import Mapping

# Class of a typed storage → our dtype.
STORAGES: Mapping[str, str] = {
    "BoolStorage": "bool",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
STORAGE_OF: Mapping[str, str] = {ours: theirs for theirs, ours in STORAGES.items()}
# Storages of bytes, to which the tensor brings the dtype, under today's name and that of PyTorch 1.10 to 1.13.
UNTYPED_STORAGES = ("UntypedStorage", "_UntypedStorage")
# Storages of no dtype of ours → dtype and bytes of an element.
ODD_STORAGES: Mapping[str, tuple[str, int]] = {
    "QInt8Storage": ("qint8", 1),
    "QUInt8Storage": ("quint8", 1),
    "QInt32Storage": ("qint32", 4),
    "QUInt4x2Storage": ("quint4x2", 1),
    "QUInt2x4Storage": ("quint2x4", 1),
    "ComplexHalfStorage": ("complex32", 4),
}
# Dtypes without a storage class of their own: they came after untyped storages.
LATE_DTYPES = ("uint16", "uint32", "uint64")
# Name in ``torch`` → our dtype.
DTYPE_NAMES: Mapping[str, str] = {dtype: dtype for dtype in (*STORAGE_OF, *LATE_DTYPES)} | {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "short": "int16",
    "int": "int32",
    "long": "int64",
}
