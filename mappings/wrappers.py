"""What training puts around and beside the weights: prefixes of names, and tensors of the optimiser."""

# Put before every name by wrappers of the network; stripped as often as they come.
PREFIXES = ("module.", "_orig_mod.", "network.", "_backbone.", "model.", "net.", "state_dict.", "ema.", "model_ema.")
_AVERAGED = ("ema.", "model_ema.")

# What optimisers and training loops leave among MindSpore's weights, by first word of the name.
_TRAINING = frozenset(
    ("moments", "moment1", "moment2", "momentum", "accum", "accumulation", "stat", "optimizer", "global_step",
     "learning_rate", "epoch_num", "step_num", "scale_sense", "loss_scale", "current_iterator_step",
     "last_overflow_iterator_step", "weight_decay", "beta1_power", "beta2_power", "lr", "epoch", "cur_iter")
)  # fmt: skip


def wrapper_prefix(name: str) -> str:
    """The wrapper prefixes a name starts with; a last word is never one.

    >>> wrapper_prefix("module.network.conv1.weight")
    'module.network.'
    """
    end = 0
    while found := next((prefix for prefix in PREFIXES if name.startswith(prefix, end)), ""):
        end += len(found)
    return name[:end] if end < len(name) else ""


def is_averaged(prefix: str) -> bool:
    """Whether a wrapper prefix is that of weights averaged over training (EMA)."""
    return any(word in prefix for word in _AVERAGED)


def is_training(name: str) -> bool:
    """Whether a tensor belongs to an optimiser or a training loop, under any wrapper prefix."""
    return name[len(wrapper_prefix(name)) :].partition(".")[0] in _TRAINING
