"""Diagnostic codes of the stage: runtime, inside jobs. R3xx training and networks, R4xx data, R5xx generators,
quality and evaluation. Runs print them with the line of the study that asked for the job."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_RUN = "$ isoloss run limits.study --store results"
_PLUGIN = (
    "The plan names something that this installation can't run: of a plug-in that isn't installed, or of a plan "
    "written by hand. What is known is listed."
)


def _unknown(code: str, noun: str) -> Code:
    return Code(code, f"{noun} that this installation doesn't have", _PLUGIN, "$ isoloss run PLAN.json", _RUN)


TRAINING: tuple[Code, ...] = (
    _unknown("R310", "a model family"),
    _unknown("R311", "a normalisation"),
    Code(
        "R312",
        "weights that can't be used",
        "The result of a training holds no weights, or those of another network. Weights are read without unpickling "
        "anything but tensors.",
        "$ rm results/0123456789abcdef0123/weights.pt",
        _RUN,
    ),
    _unknown("R313", "an attack, norm or attack loss"),
    _unknown("R314", "a loss"),
    _unknown("R315", "a schedule"),
    _unknown("R316", "a weight average"),
    _unknown("R317", "an augmentation"),
    _unknown("R318", "an optimizer"),
    Code(
        "R319",
        "a batch that can't be shared equally",
        "With several processes each takes an equal part of every batch: whole batch-norm groups, or all an equal part "
        "of one group. Anything else would change the statistics and with them the job. The numbers of processes that "
        "can are listed.",
        "$ torchrun --nproc_per_node 3 train.py   # batch = 64",
        "$ torchrun --nproc_per_node 4 train.py   # batch = 64",
    ),
    Code(
        "R320",
        "the training loss is not a number",
        "The training diverged. It stopped there, with its last sound checkpoint kept. A lower `lr`, a longer warm-up "
        "or `clip` help; a changed recipe is another job.",
        "$ isoloss run limits.study --set recipe.trades.lr=50",
        "$ isoloss run limits.study --set recipe.trades.lr=0.1",
    ),
    Code(
        "R322",
        "out of memory at a batch",
        "The device can't hold the activations of one adversarial step of these images. Where batch-norm groups are "
        "smaller than a device's part of the batch, fewer of them pass at a time, by itself: that changes nothing "
        "but the order of sums, and the record of the run says so. Where a group is the whole part, splitting it would "
        "change its statistics: more devices keep them; bf16 or a smaller group are other experiments. The message "
        "says which batch would fit: measured on a GPU, estimated on a CPU.",
        "$ isoloss run limits.study --set recipe.trades.batch=8192",
        "$ isoloss run limits.study --set recipe.trades.batch=512",
    ),
    _unknown("R323", "a perturbation of the weights"),
    Code(
        "R324",
        "a micro-batch that would change the maths",
        "What passes at a time is a whole number of batch-norm groups, and divides a process's part of the batch. "
        "Passing less would normalise fewer images together, and that is another experiment: its place is the study, "
        "`batchnorm(group = N)`. The sizes that fit are listed.",
        "$ isoloss run limits.study --micro-batch 16   # groups of 64",
        "$ isoloss run limits.study --set 'recipe.trades.batchnorm=batchnorm(group = 16)'",
    ),
    Code(
        "R325",
        "a number format that the device doesn't have",
        "`precision = bf16` and `tf32` are part of what a training means; computing in another format in their place "
        "would be another job under their name. NVIDIA's GPUs have both from Ampere (A100) on. On a CPU tf32 is fp32.",
        "$ isoloss run limits.study --set recipe.trades.precision=bf16   # on a T4",
        "$ isoloss run limits.study --set recipe.trades.precision=fp32",
    ),
    Code(
        "R326",
        "a ZeRO stage that adversarial training can't use",
        "Stage 3 takes weights apart between passes. Attacks, averages and perturbations of the weights read them "
        "whole at times of their own; equal input gradients are proven for stages 0, 1 and 2 only. Little is lost: "
        "of an adversarial step's memory weights are a few per cent, activations the rest.",
        "$ isoloss run limits.study --processes 8 --zero 3",
        "$ isoloss run limits.study --processes 8 --zero 2",
    ),
)

DATA: tuple[Code, ...] = (
    Code(
        "R401",
        "data that isn't there",
        "A data set, a file of images or a shard is not where it should be. Data sets and files are looked for below "
        "`--data` or ISOLOSS_DATA and never downloaded; shards are made by the study itself.",
        "$ isoloss run limits.study",
        "$ isoloss run limits.study --data /data",
    ),
    Code(
        "R402",
        "a data set that is not the published one",
        "The files don't have the checksum of the published data, or that which the study or their manifest states: "
        "results on other images can't be compared.",
        "$ isoloss run limits.study --data /data/edited",
        "$ isoloss run limits.study --data /data",
    ),
    _unknown("R403", "a data set"),
    Code(
        "R404",
        "a file of images of another form",
        "Images are uint8 (n, H, W, C) of the dataset's size, labels whole numbers (n,) or one-hot rows, each a class of "
        "the dataset: in `.npz` archives under `image` and `label`, in HDF5 files under the same names, in shards as "
        "`images.npy` and `labels.npy`. Nothing pickled is ever read. A file that breaks off is refused whole.",
        "$ isoloss run limits.study --data /data/as_float",
        "$ isoloss run limits.study --data /data",
    ),
    Code(
        "R405",
        "fewer images than asked for",
        "An evaluation, a training or a generator's `images` asks for more than there are. None is used twice in place "
        "of another.",
        "$ isoloss run limits.study --set evaluate.robust.images=1000000",
        "$ isoloss run limits.study --set evaluate.robust.images=500",
    ),
    Code(
        "R406",
        "the same images twice",
        "Two files of one generator have the same contents, or a shard is named twice. Images that count twice would "
        "make D larger than it is.",
        "$ cp /data/wang/1m.npz '/data/wang/1m (copy).npz'",
        "$ rm '/data/wang/1m (copy).npz'",
    ),
    Code(
        "R407",
        "files outside the data root",
        "A generator's files lie below the folder that `--data` or ISOLOSS_DATA names. What leads out of it is not "
        "followed: `..`, absolute paths, links. Arrays that an HDF5 file takes from others (links, external storage, "
        "virtual data sets) aren't read at all, wherever those lie.",
        "$ ln -s /home /data/wang",
        "$ isoloss run limits.study --data /data",
    ),
    Code(
        "R408",
        "HDF5 without its package",
        "HDF5 files are read by h5py, which isoloss doesn't install by itself. Archives (`.npz`) need nothing.",
        "$ isoloss run limits.study --data /data",
        "$ pip install 'isoloss[hdf5]'",
    ),
    Code(
        "R409",
        "images that nothing can be learnt from",
        "Every pixel of the imported images is the same, or they hold 0 and 1 only where 0 to 255 are meant (images in [0, 1] "
        "that were rounded to whole numbers), or every label is the same. Classes without an image are an alarm.",
        "$ python -c \"np.savez('images.npz', image=(x / 255).astype('uint8'), label=y)\"",
        "$ python -c \"np.savez('images.npz', image=x.astype('uint8'), label=y)\"",
    ),
)

QUALITY: tuple[Code, ...] = (
    Code(
        "R501",
        "a generator that can't run here",
        "The sampler or denoiser has no implementation here, or the data can't feed it. A generator whose images come "
        "from elsewhere is planned with its stated `fid` and `images`.",
        "$ isoloss run limits.study --set generator.dg.fid=none",
        "$ isoloss run limits.study --profile laptop",
    ),
    Code(
        "R502",
        "a feature space that can't be computed",
        "FID is a distance in the space of some network's features. This one can't be computed here, or not on images of "
        "this size; a distance in another space is another measure, so none is put in its place.",
        "$ isoloss run limits.study",
        "$ isoloss run limits.study --set generator.edm5.fid=35.54",
    ),
    Code(
        "R503",
        "too few images for a FID",
        "The covariance of d features needs more than d images; below, the distance isn't defined.",
        "$ isoloss run limits.study --set generator.mix4.images=10",
        "$ isoloss run limits.study --set generator.mix4.images=10k",
    ),
    Code(
        "R504",
        "AutoAttack is not defined here",
        "AutoAttack's versions are defined for certain norms and at least so many classes; with other settings its "
        "name would promise more than was done.",
        "$ isoloss run limits.study --set 'evaluate.robust.attack=autoattack(norm = l1)'",
        "$ isoloss run limits.study --set 'evaluate.robust.attack=autoattack(norm = linf)'",
    ),
    Code(
        "R505",
        "an attack that broke its own rules",
        "The attacked images left the ball of radius `eps` or the pixel range, or aren't numbers: whatever they show "
        "is not robustness. The evaluation is refused.",
        _RUN,
        _RUN,
    ),
    Code(
        "R521",
        "a file that isn't the weights of Inception-v3",
        "FID needs the network of 2015 in its PyTorch port, a file below the data root. This file can't be read as "
        "tensors, lacks some of the network's or has others, holds values that are no numbers, or isn't the one whose "
        "SHA-256 the study states. Each tensor is used exactly once or the file is refused; nothing in it is run.",
        "$ cp inception_v3_google-0cc3c7bd.pth /data/pt_inception-2015-12-05-6726825d.pth\n"
        "$ isoloss run limits.study --data /data",
        "$ isoloss run limits.study --data /data",
    ),
    Code(
        "R522",
        "moments that are none, or of another feature space",
        "`reference` names a `.npz` with the mean `mu` and covariance `sigma` of real images' features. The arrays are "
        "missing, have another size than the space has features, or are no covariance. Without `reference` they are "
        "measured on the training split.",
        '$ isoloss run limits.study --data /data   # features = pixels(reference = "inception_stats.npz")',
        '$ isoloss run limits.study --data /data   # features = inception(reference = "inception_stats.npz")',
    ),
    Code(
        "R523",
        "features that are not numbers",
        "A network gave an infinity or no number for some image, and with it every distance would be none. Images are "
        "integers, so the weights or the device are at fault.",
        "$ isoloss run limits.study --data /data/broken",
        "$ isoloss run limits.study --data /data",
    ),
)

_IMPORT = "$ isoloss import {} -o edm.pt"

NETWORKS: tuple[Code, ...] = (
    Code(
        "R510",
        "a generator's weights that can't be used",
        "The file holds no network, or another one than the study says: `pretrained` states its form, because what "
        "sampling costs depends on it. Weights are read without unpickling anything but tensors.",
        "$ isoloss run limits.study --set 'generator.edm20.denoiser=pretrained(file = \"notes.txt\")'",
        "$ isoloss run limits.study --set 'generator.edm20.denoiser=pretrained(file = \"edm.pt\")'",
    ),
    Code(
        "R511",
        "a pickle that holds more than weights",
        "A pickle can run any program when it is read, and the published ones carry source code to be run. They are "
        "read here as data: containers, numbers, tensors, names of classes; whatever else one asks for is refused, "
        "and nothing in it is run. A file that is no pickle, or a damaged one, is told by this code too.",
        _IMPORT.format("stranger.pkl"),
        _IMPORT.format("edm-cifar10-32x32-cond-vp.pkl"),
    ),
    Code(
        "R512",
        "a published network of another kind",
        "Class-conditional networks of the shapes DDPM++ and NCSN++ in EDM's preconditioning are mapped, each parameter "
        "once. Others (ADM's, unconditional ones, other preconditionings) are not.",
        _IMPORT.format("edm-imagenet-64x64-cond-adm.pkl"),
        _IMPORT.format("edm-cifar10-32x32-cond-vp.pkl"),
    ),
)

CODES: tuple[Code, ...] = (*TRAINING, *DATA, *QUALITY, *NETWORKS)
