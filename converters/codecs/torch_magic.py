"""How the files of torch.save begin."""

LOCAL_MAGIC = b"PK\x03\x04"
_TAR_NAMES = (b"sys_info", b"pickle", b"tensors", b"storages", b"././@PaxHeader")


def is_pickle(head: bytes) -> bool:
    """Whether a file starts as a pickle of protocol 2 to 5 does."""
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def is_old_tar(head: bytes) -> bool:
    """Whether a file may be of the tar format that torch.save wrote before PyTorch 0.1.10."""
    return head[257:262] == b"ustar" and head.startswith(_TAR_NAMES)
