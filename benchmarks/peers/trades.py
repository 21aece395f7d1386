"""The peers of train_step.py: TRADES steps in plain PyTorch, fed with our images and our noise so that only the
step differs.

`Published` is written as published repositories write theirs (after the facts of Wang et al.'s and Bartoldson
et al.'s code; no line is theirs): torch's own BatchNorm2d with its running statistics switched off around the
attack, Conv2d behind an explicit padding, contiguous memory, a clean forward with its graph for the target of
the attack, autograd through softmax and KL, parameters that require gradients throughout, the loss and both
accuracies read every step, gradients set to None, an average of the weights kept tensor by tensor.
`Careful` is the same maths without what a careful writer leaves out: no graph where none is needed, no
bookkeeping, no average; our modules, batch norm unfolded, contiguous memory."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoloss.runtime.models.network import Network
from isoloss.runtime.models.wrn import WideResNet

EPSILON, STEP_SIZE, ATTACK_STEPS, BETA, SMOOTHING, DECAY = 8 / 255, 2 / 255, 10, 5.0, 0.1, 0.995
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


class PublishedBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inputs, momentum=0.01)
        self.relu_0 = nn.SiLU(inplace=True)
        self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride, padding=0, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs, momentum=0.01)
        self.relu_1 = nn.SiLU(inplace=True)
        self.conv_1 = nn.Conv2d(outputs, outputs, 3, 1, padding=1, bias=False)
        self.has_shortcut = inputs != outputs
        if self.has_shortcut:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        padding = (1, 1, 1, 1) if self.stride == 1 else (0, 1, 0, 1)
        if self.has_shortcut:
            x = self.relu_0(self.batchnorm_0(x))
            out = x
        else:
            out = self.relu_0(self.batchnorm_0(x))
        out = self.conv_0(F.pad(out, padding))
        out = self.conv_1(self.relu_1(self.batchnorm_1(out)))
        return (self.shortcut(x) if self.has_shortcut else x) + out


class PublishedWideResNet(nn.Module):
    """The same function as models/wrn.py; weights, and the device, are taken from one of ours."""

    mean: Tensor
    std: Tensor

    def __init__(self, ours: WideResNet) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, -1, 1, 1))
        self.init_conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer = nn.Sequential(
            *(
                PublishedBlock(b.norm1.weight.numel(), b.norm2.weight.numel(), b.conv1.stride[0])
                for b in ours.blocks
            )
        )
        self.batchnorm = nn.BatchNorm2d(ours.norm.weight.numel(), momentum=0.01)
        self.relu = nn.SiLU(inplace=True)
        self.logits = nn.Linear(ours.head.in_features, ours.head.out_features)
        self._take(ours)
        self.to(ours.head.weight.device)

    @torch.no_grad()
    def _take(self, ours: WideResNet) -> None:
        pairs = [(self.init_conv, ours.stem), (self.batchnorm, ours.norm), (self.logits, ours.head)]
        for mine, block in zip(self.layer, ours.blocks, strict=True):
            pairs += [(mine.batchnorm_0, block.norm1), (mine.conv_0, block.conv1)]
            pairs += [(mine.batchnorm_1, block.norm2), (mine.conv_1, block.conv2)]
            if mine.has_shortcut:
                pairs.append((mine.shortcut, block.shortcut))
        for mine, theirs in pairs:
            for name, parameter in mine.named_parameters():
                parameter.copy_(getattr(theirs, name))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.init_conv((x - self.mean) / self.std))
        x = F.avg_pool2d(self.relu(self.batchnorm(x)), 8)
        return self.logits(x.view(-1, x.shape[1]))


def track_statistics(model: nn.Module, track: bool) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = track


class Published:
    def __init__(self, ours: WideResNet, lr: float, mode: str) -> None:
        self.model = PublishedWideResNet(ours)
        decayed = [p for n, p in self.model.named_parameters() if "batchnorm" not in n]
        spared = [p for n, p in self.model.named_parameters() if "batchnorm" in n]
        groups = [{"params": decayed}, {"params": spared, "weight_decay": 0}]
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.average = copy.deepcopy(self.model)
        self.mode, self.metrics, self.steps = mode, [], 0

    def step(self, x_natural: Tensor, y: Tensor, noise: Tensor) -> float:
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0 if self.steps == 0 else 0.01
        self.steps += 1
        criterion_ce = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
        criterion_kl = nn.KLDivLoss(reduction="sum")
        self.model.train(self.mode == "train")
        track_statistics(self.model, self.mode == "eval")  # eval mode reads what train mode must not move
        p_natural = F.softmax(self.model(x_natural), dim=1).detach()
        x_adv = torch.clamp(x_natural.detach() + noise, 0.0, 1.0)
        for _ in range(ATTACK_STEPS):
            x_adv.requires_grad_()
            with torch.enable_grad():
                loss_kl = criterion_kl(F.log_softmax(self.model(x_adv), dim=1), p_natural)
            gradient = torch.autograd.grad(loss_kl, [x_adv])[0]
            x_adv = x_adv.detach() + STEP_SIZE * torch.sign(gradient.detach())
            x_adv = torch.min(torch.max(x_adv, x_natural - EPSILON), x_natural + EPSILON)
            x_adv = torch.clamp(x_adv, 0.0, 1.0)
        self.model.train()
        track_statistics(self.model, True)
        self.optimizer.zero_grad()
        natural, adversarial = self.model(x_natural), self.model(x_adv)
        loss_natural = criterion_ce(natural, y)
        loss_robust = criterion_kl(F.log_softmax(adversarial, dim=1), F.softmax(natural, dim=1)) / len(
            x_natural
        )
        loss = loss_natural + BETA * loss_robust
        self.metrics.append(
            {
                "loss": loss.item(),
                "clean_acc": (natural.detach().argmax(1) == y).float().mean().item(),
                "adversarial_acc": (adversarial.detach().argmax(1) == y).float().mean().item(),
            }
        )
        loss.backward()
        self.optimizer.step()
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.data.mul_(DECAY).add_(new.data, alpha=1 - DECAY)
        return self.metrics[-1]["loss"]


class Careful:
    def __init__(self, ours: Network, lr: float, mode: str) -> None:
        self.network = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
        norms = {id(p) for norm in self.network.batch_norms() for p in norm.parameters()}
        groups = [
            {"params": [p for p in self.network.parameters() if id(p) not in norms]},
            {"params": [p for p in self.network.parameters() if id(p) in norms], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.mode, self.steps = mode, 0

    def step(self, x: Tensor, y: Tensor, noise: Tensor) -> float:
        network = self.network
        network.set_momentum(1.0 if self.steps == 0 else 0.01)
        self.steps += 1
        network.train(self.mode == "train")
        for norm in network.batch_norms():
            norm.frozen = True
        criterion = nn.KLDivLoss(reduction="sum")
        with torch.no_grad():
            p_natural = F.softmax(network(x), dim=1)
        x_adv = (x + noise).clamp(0.0, 1.0)
        for _ in range(ATTACK_STEPS):
            x_adv.requires_grad_()
            with torch.enable_grad():
                loss = criterion(F.log_softmax(network(x_adv), dim=1), p_natural)
            gradient = torch.autograd.grad(loss, [x_adv])[0]
            x_adv = x_adv.detach() + STEP_SIZE * torch.sign(gradient)
            x_adv = torch.clamp(torch.min(torch.max(x_adv, x - EPSILON), x + EPSILON), 0.0, 1.0)
        for norm in network.batch_norms():
            norm.frozen = False
        network.train()
        self.optimizer.zero_grad()
        natural, adversarial = network(x), network(x_adv)
        loss = F.cross_entropy(natural, y, label_smoothing=SMOOTHING) + BETA / len(x) * criterion(
            F.log_softmax(adversarial, dim=1), F.softmax(natural, dim=1)
        )
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())
