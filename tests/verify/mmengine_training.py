"""One epoch on noise by mmengine's Runner, which saves ``epoch_1.pth`` into the folder of the first argument."""

import sys

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample


@DATASETS.register_module()
class Noise(torch.utils.data.Dataset):  # type: ignore[misc]
    metainfo = {"classes": ("cat", "dog", "cow")}  # noqa: RUF012 - mmengine's name for it

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"inputs": torch.rand(3, 64, 64), "data_samples": DataSample().set_gt_label(index % 3)}


backbone = {
    "type": "ResNet",
    "depth": 50,
    "num_stages": 2,
    "strides": (1, 2),
    "dilations": (1, 1),
    "out_indices": (1,),
    "style": "caffe",
}
head = {"type": "LinearClsHead", "num_classes": 3, "in_channels": 512, "topk": (1,)}
config = {
    "default_scope": "mmpretrain",
    "work_dir": sys.argv[1],
    "model": {"type": "ImageClassifier", "backbone": backbone, "neck": {"type": "GlobalAveragePooling"}, "head": head},
    "train_dataloader": {
        "batch_size": 2,
        "num_workers": 0,
        "dataset": {"type": "Noise"},
        "sampler": {"type": "DefaultSampler"},
    },
    "train_cfg": {"by_epoch": True, "max_epochs": 1},
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
    "param_scheduler": {"type": "MultiStepLR", "milestones": [1]},
    "default_hooks": {
        "checkpoint": {"type": "CheckpointHook", "interval": 1},
        "logger": {"type": "LoggerHook", "interval": 1},
    },
    "custom_hooks": [{"type": "EMAHook"}],
    "randomness": {"seed": 0},
}
Runner.from_cfg(Config(config)).train()
