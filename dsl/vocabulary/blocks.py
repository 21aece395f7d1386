"""The blocks of a study and their settings; derived quantities; reserved words."""

from __future__ import annotations

from isoloss.dsl.vocabulary.recipes import PUBLISHED
from isoloss.dsl.vocabulary.row import BlockRow, By, QuantityRow, Slot, WordRow

#: The rows of the compiler's device table (a test holds them equal).
DEVICES = (
    "cpu", "p100", "gtx1080ti", "v100", "t4", "rtx2080ti", "a100", "rtx3080ti", "rtx3090", "a6000", "rtx4090", "l40s", "h100", "h200",
    "b200", "rtx5090",
)  # fmt: skip
LAWS = ("approach1", "approach2", "approach3", "chinchilla", "powerlaw", "powersum")

_ONE_RECIPE = "the study has one recipe"
_OBJECTIVE = "another objective is given: one of `compute`, `accuracy` and `time`"
_ONE_GRID = "`base` is given, or the study has one grid"


def _term(name: str, doc: str, example: str, default: str | By | None = None, **more: str) -> Slot:
    family = more.pop("family", name)
    return Slot(name, "call", doc, example, default, family=family, **more)  # type: ignore[arg-type]


_FEATURES = _term(
    "features", "Space that `fid` is a distance in. A stated `fid` is Inception's unless said otherwise.", "pixels",
    By("measured", {"digits": "pixels", "mnist": "pixels", "fashion_mnist": "pixels", "squiggles": "pixels",
                    "*": "inception"}),
    family="feature space", source="the papers; `pixels` for small grey images: ours",
)  # fmt: skip

GENERATOR = BlockRow(
    "generator",
    "A source of training images of one quality.",
    "generator edm20 { sampler = edm(steps = 20)  fid = 1.82  images = 100M }",
    (
        Slot("from", "source", "Where images come from that no sampler makes: files below the data root (`--data`, a pattern "
             "with `*`), or `real`, the dataset's own training images.", '"wang/*.npz"',
             optional_when="`sampler` is given"),
        _term("sampler", "How images are drawn.", "edm(steps = 20)", optional_when="`from` is given"),
        _term(
            "denoiser",
            "The model that the sampler follows. `none`: images come from published files.",
            "mixture(components = 4)",
            By("dataset", {"digits": "mixture(components = 4)", "*": "none"}),
            absent="none",
            source="ours",
        ),
        Slot("fid", "number", "Quality: Fréchet distance to real data; `measured` makes it a job. Real images are 0 by the "
             "papers' convention.", "1.82", By("from", {"real": "0", "*": "measured"}), low="0", absent="measured"),
        _FEATURES,
        Slot("images", "integer", "Unique images there are: of files so many are taken at random, of real ones the first so "
             "many; `unlimited`: all there are.", "100M", "unlimited", dimension="images", low="1", high="1e15",
             absent="unlimited"),
        Slot("passes", "integer", "How often a run may draw each of them.", "200",
             By("from", {"real": "unlimited", "*": "1"}), low="1", high="1e9", absent="unlimited", source="ours"),
        Slot("sha256", "digests", "SHA-256 of the file, or of each file in the order of their names: other files are refused.",
             f'"{"0123456789abcdef" * 4}"', "none", absent="none"),
        Slot("licence", "text", "Licence of the images, kept with them.", '"CC BY-NC-SA 4.0"', "none", absent="none"),
    ),
    plural="generators",
)  # fmt: skip

MIX = BlockRow(
    "mix",
    "Images of a generator with real training images among them, at a fixed ratio; stands wherever a generator does.",
    "mix mostly { generator = edm20  real = 1/8  fid = 1.4 }",
    (
        Slot("generator", "reference", "Where the others come from.", "edm20", family="generator"),
        Slot("real", "number", "Share of real images, exact over a run and in every batch to one image; each may be drawn any "
             "number of times.", "1/8", dimension="fraction", low="0", high="1", exclusive=True, exact=True),
        Slot("fid", "number", "Quality: Fréchet distance to real data of images in that ratio; `measured` makes it a job.",
             "1.4", "measured", low="0", absent="measured"),
        _FEATURES,
    ),
    plural="mixes",
)  # fmt: skip

RECIPE = BlockRow(
    "recipe",
    "How a network is trained.",
    "recipe trades { loss = trades()  attack = pgd(eps = 8/255)  batch = 1024  lr = 0.3 }",
    (
        _term("loss", "What training minimises.", "trades(beta = 5)"),
        _term("attack", "The inner attack.", "pgd(eps = 8/255, steps = 10)", By("loss", {"natural": "none", "noise": "none"}),
              optional_when="the loss is `natural` or `noise`"),
        _term("perturb", "How weights are perturbed while a step's gradient is taken.", "awp(gamma = 0.005)", "none",
              source=PUBLISHED),
        _term("optimizer", "How weights move.", "sgd(momentum = 0.9)", "sgd()", source=PUBLISHED),
        _term("schedule", "How the learning rate moves.", "cosine(warmup = 2.5%)", "cosine()", source=PUBLISHED),
        _term("average", "Average of the weights, which evaluations use.", "ema(decay = 0.995)", "ema()",
              source=PUBLISHED),
        Slot("batch", "rule", "Images per step.", "1024 if images <= 10M else 2048", dimension="images", low="1",
             high="1e7"),
        Slot("lr", "rule", "Peak learning rate.", "0.3 if images <= 10M else 0.2", low="0", high="1000",
             exclusive=True),
        _term("augment", "What is done to training images.", "pad_crop_flip(4)",
              By("dataset", {"cifar10": "pad_crop_flip(4)", "*": "none"}), source=PUBLISHED),
        _term("normalize", "Scaling of pixels inside the network.", "cifar10",
              By("dataset", {"cifar10": "cifar10", "*": "none"}), source=PUBLISHED),
        _term("batchnorm", "Batch normalisation in training.", "batchnorm(attack = train)", "batchnorm()",
              source=PUBLISHED),
        Slot("clip", "number", "Bound on the gradient's norm; `none`: no clipping.", "1", "none", low="0",
             exclusive=True, absent="none", source=PUBLISHED),
        Slot("precision", "choice", "Number format of convolutions and products. tf32: their inputs keep 10 bits of "
             "fraction on NVIDIA's GPUs; on a CPU it is fp32. bf16: 7 bits. Images, softmax, statistics, averages and "
             "the optimizer stay fp32.", "bf16", "fp32", choices=("fp32", "tf32", "bf16"), source=PUBLISHED),
        Slot("evaluate", "periodic", "An evaluation repeated during training; the curves of approach 1.",
             "robust at every 2.5%", "none", absent="none"),
    ),
    plural="recipes",
)  # fmt: skip

EVALUATE = BlockRow(
    "evaluate",
    "A test of trained networks on images that nothing was trained on. With an axis over a setting of its attack, "
    "`attack.eps in [0, 4/255, 8/255]`, it is one evaluation for each value; eps = 0 is no attack.",
    "evaluate robust { attack = pgd(eps = 8/255, steps = 40, loss = cw) }",
    (
        _term("attack", "The attack, or `none` for clean images.", "pgd(eps = 8/255, steps = 40, loss = cw)"),
        Slot("weights", "choice", "Which weights are tested. best: those that the recipe's own evaluation on the validation "
             "split found most accurate under its attack, the end of training included.", "average", "average",
             choices=("average", "live", "best"), source=PUBLISHED),
        Slot("split", "choice", "The test images, or those that were held out of the training images: what is chosen while "
             "training is chosen on these.", "test", "test", choices=("test", "validation")),
        Slot("images", "integer", "Images used, the first so many; `all` of the split.", "1000", "all",
             dimension="images", low="1", high="1e9", absent="all"),
    ),
    plural="evaluations",
)  # fmt: skip

GRID = BlockRow(
    "grid",
    "Candidate runs: the product of its axes, filtered by every `where`. An axis may also be over a setting of the recipe "
    "(`recipe.loss.beta in [3, 6]`) or over a `let`, which then has each value wherever recipes and evaluations use it.",
    "grid runs { model in [wrn(28, 4), wrn(28, 10)]  generator in [edm5, edm20]  images in [5M, 10M]  recipe = trades }",
    (
        _term("model", "Networks.", "[wrn(28, 4), wrn(28, 10)]", form="in"),
        Slot("generator", "reference", "Sources of training images.", "[edm5, edm20]", family="generator", form="in",
             optional_when="the dataset's own training images are then drawn, as generator `real`"),
        Slot("images", "integer", "Images drawn over a whole training.", "[5M, 10M, 30M]", dimension="images",
             low="1", high="1e15", form="in", optional_when="`compute` is given"),
        Slot("compute", "number", "Training FLOPs of a run, in place of `images`: so many images are drawn as they buy, by "
             "the passes of its recipe and the size of its network, in whole batches (isoFLOP grids).",
             "[1e18 FLOP, 3e18 FLOP]", dimension="compute", low="0", exclusive=True, form="in",
             optional_when="`images` is given", source="Hoffmann et al. 2022, §3.2; by passes: ours"),
        Slot("recipe", "reference", "Recipes.", "trades", family="recipe", form="in", optional_when=_ONE_RECIPE),
        Slot("seed", "integer", "Seeds of initialisation, order and noise.", "1..3", "0", low="0", high="4e9",
             form="in", source="ours"),
        Slot("batch", "integer", "Batch sizes, instead of the recipe's rule.", "[512, 1024]", dimension="images",
             low="1", high="1e7", form="in", optional_when="the recipe's `batch` rule then holds"),
        Slot("lr", "number", "Learning rates, instead of the recipe's rule.", "[0.1, 0.2]", low="0", high="1000",
             exclusive=True, form="in", optional_when="the recipe's `lr` rule then holds"),
    ),
    plural="grids",
)  # fmt: skip

BUDGET = BlockRow(
    "budget",
    "Bounds on all jobs of the study together.",
    "budget { compute = 1e22 FLOP  devices = 32 of h100  walltime = 12 h }",
    (
        Slot("compute", "number", "FLOPs of all jobs.", "1e22 FLOP", "unlimited", dimension="compute", low="0",
             exclusive=True, absent="unlimited"),
        Slot("devices", "devices", "How many of which device.", "32 of h100", "1 of cpu"),
        Slot("walltime", "number", "Longest a job may run at a time; longer ones become chains.", "12 h",
             "unlimited", dimension="time", low="0", exclusive=True, absent="unlimited"),
        Slot("price", "number", "Money per device and hour.", "2.40 USD/h", "none", dimension="price", low="0",
             absent="none"),
        Slot("transfer", "number", "Money for what jobs read from the store and write to it.", "0.09 USD/GB", "none",
             dimension="tariff", low="0", absent="none", source="ours"),
        Slot("storage", "number", "Bytes in the store.", "500 GB", "unlimited", dimension="storage", low="0",
             exclusive=True, absent="unlimited"),
        Slot("choose", "choice", "Which cells to run: every one (all), those that tell most about the questions "
             "(design), or the cheapest first.", "design", "all", choices=("all", "design", "cheapest")),
        Slot("pin", "runs", "Runs that are bought first, whatever they tell or cost; they count against `compute`.",
             "(runs where seed == 0)", "none", absent="none", source="ours"),
    ),
    named=False,
)  # fmt: skip

DEVICE = BlockRow(
    "device",
    "A kind of device that a budget names: what its maker states of it. A GPU, with CUDA.",
    "device my4090 { memory = 24 GB  fp32 = 82 TFLOP/s  bf16 = 165 TFLOP/s  price = 0.40 USD/h }",
    (
        Slot("memory", "number", "Its memory.", "24 GB", dimension="storage", low="0", exclusive=True, source="ours"),
        Slot("fp32", "number", "Its dense peak in fp32, without TF32.", "82 TFLOP/s", dimension="rate", low="0",
             exclusive=True, source="ours"),
        Slot("tf32", "number", "Its dense peak in TF32; `none`: it has none.", "82 TFLOP/s", "none", dimension="rate",
             low="0", exclusive=True, absent="none", source="ours"),
        Slot("bf16", "number", "Its dense peak in bf16, sums in fp32; `none`: it has none.", "165 TFLOP/s", "none",
             dimension="rate", low="0", exclusive=True, absent="none", source="ours"),
        Slot("bandwidth", "number", "Of its memory; `none`: that of the shipped device with the nearest fp32 peak.",
             "1 TB/s", "none", dimension="bandwidth", low="0", exclusive=True, absent="none", source="ours"),
        Slot("watts", "number", "The board's limit; `none`: that of the shipped device with the nearest fp32 peak.",
             "450", "none", low="0", exclusive=True, absent="none", source="ours"),
        Slot("price", "number", "Money per device and hour, where the budget states none.", "0.40 USD/h", "none",
             dimension="price", low="0", absent="none", source="ours"),
    ),
    plural="devices",
)  # fmt: skip

FIT = BlockRow(
    "fit",
    "A law fitted to runs.",
    "fit quality { law = approach2  base = (runs where generator == edm20)  quality = runs }",
    (
        Slot("law", "choice", "Form and procedure.", "approach2", choices=LAWS),
        Slot("to", "runs", "Runs it is fitted to.", "(runs where fid < 10)", optional_when=_ONE_GRID),
        Slot("base", "runs", "Runs of the first stage, which fixes the law at one quality; `none`: all of `to`.",
             "(runs where generator == edm20)", "none", absent="none"),
        Slot("quality", "runs", "Runs of the second stage, which adds quality; `none`: all of `to`.",
             "(runs where generator in [edm7, edm10])", "none", absent="none"),
        Slot("per", "choice", "One fit for each of these.", "generator", "none", choices=("generator",), absent="none"),
        Slot("evaluate", "reference", "Whose points are fitted: those that this evaluation measured on a run.", "robust",
             family="evaluate", optional_when="its recipes repeat one evaluation, or one alone (or one alone that attacks) "
             "is declared: then it is that", source="ours"),
        Slot("metric", "choice", "What is fitted.", "loss", "loss", choices=("loss", "accuracy")),
        Slot("x", "choice", "What a power law is in; other laws have both N and D.", "params", "images",
             choices=("images", "params", "flops"), source="ours"),
        Slot("points", "choice", "Points of a run: its best at or after `floor`, its last, or its curve.", "best",
             By("law", {"approach1": "curve", "*": "best"}), choices=("best", "final", "curve"), source=PUBLISHED),
        Slot("floor", "number", "Share of training before which a run's points don't count.", "0.5", "0.5",
             dimension="fraction", low="0", high="1", source=PUBLISHED),
        Slot("errors", "choice", "How residuals of the log are taken: each on its own, as the papers do, or correlated, so "
             "that what neighbouring runs and replicates share, the law's misfit, counts once.", "correlated",
             "independent", choices=("independent", "correlated"), source="ours; generalised least squares, Aitken 1936"),
        Slot("delta", "number", "Huber threshold on residuals of the log, where errors are independent.", "1e-3", "1e-3", low="0", exclusive=True,
             source="Hoffmann et al. 2022, §3.3; published code"),
        Slot("resamples", "integer", "Bootstrap resamples, by run.", "1000", "1000", low="0", high="1000000",
             source="ours"),
    ),
    plural="fits",
)  # fmt: skip

_LAW = Slot("law", "laws", "The fits that answer.", "any(quality, bottleneck)")

FORECAST = BlockRow(
    "forecast",
    "A question: what loss and accuracy does this much compute buy?",
    "forecast limit { law = any(quality, bottleneck)  fid = 0  compute = 1e25 FLOP  within = 2% }",
    (
        _LAW,
        Slot("fid", "number", "Quality of the data it is asked for; 0 is real data.", "0", low="0",
             optional_when="`generator` is given"),
        _term("features", "Space that `fid` is stated in; 0 is real data in every space.", "pixels", "inception",
              family="feature space", source="the papers"),
        Slot("generator", "reference", "Ask for this generator's quality.", "edm20", family="generator",
             optional_when="`fid` is given"),
        Slot("compute", "number", "Training FLOPs.", "1e25 FLOP", dimension="compute", low="0", exclusive=True),
        Slot("within", "number", "Wanted relative half-width of the answer.", "2%", "none", dimension="fraction",
             low="0", high="1", exclusive=True, absent="none"),
    ),
    plural="forecasts",
)  # fmt: skip

ALLOCATE = BlockRow(
    "allocate",
    "A run that fitted laws ask for, which the study then trains and tests: the one of lowest loss at a `compute`, the "
    "cheapest that reaches an `accuracy`, or the best that a `time` allows.",
    "allocate best { law = quality  compute = 1e21 FLOP  generator = edm20  overhead <= 10%  evaluate = [robust] }",
    (
        _LAW,
        Slot("compute", "number", "Lowest loss for so many training FLOPs; where generators compete, the images made "
             "for it alone are paid from them too.", "1e21 FLOP", dimension="compute", low="0", exclusive=True,
             absent="none", optional_when=_OBJECTIVE),
        Slot("accuracy", "number", "The cheapest run, training and images made for it, that is predicted to reach this "
             "accuracy of the law's evaluation.", "70%", dimension="fraction", low="0", high="1", exclusive=True,
             absent="none", optional_when=_OBJECTIVE, source="ours"),
        Slot("time", "number", "The best run from its images to its tests within this wall-clock time, each job on all "
             "devices of the budget.", "24 h", dimension="time", low="0", exclusive=True, absent="none",
             optional_when=_OBJECTIVE, source="ours"),
        Slot("generator", "reference", "Where its images come from. Of a list one is chosen, by quality, by what its "
             "images cost to make and by how many it has: none is drawn twice.", "edm20", family="generator",
             form="in"),
        Slot("family", "term", "Families of networks it may be of; `grids`: those of the grids.", "wrn", "grids",
             family="model", form="in", absent="grids", source="ours"),
        Slot("recipe", "reference", "How it is trained.", "trades", family="recipe", optional_when=_ONE_RECIPE),
        Slot("overhead", "number", "Extra compute allowed for a smaller network that is as good.", "10%", "0",
             dimension="fraction", low="0", high="100", form="<=", source="Bartoldson et al. 2024, eq. 6"),
        Slot("evaluate", "evaluations", "How it is tested.", "[robust, autoattack(eps = 8/255)]",
             optional_when="every `evaluate` block of the study is then used"),
        Slot("seed", "integer", "Seed of its training.", "0", "0", low="0", high="4e9", source="ours"),
    ),
    plural="allocations",
)  # fmt: skip

COMPARE = BlockRow(
    "compare",
    "A question: which of these is better, by how much, and how sure? Runs are paired over everything else that the grid "
    "varies, seeds included, on the same test images; the 95 % intervals of all pairs hold together (Holm 1979), and hold "
    "what seeds and the sample of test images move.",
    "compare better { over = runs  by = recipe  evaluate = robust  within = 1% }",
    (
        Slot("over", "runs", "The runs that are compared.", "(runs where images == 100k)",
             optional_when="the study has one grid", source="ours"),
        Slot("by", "axis", "The axis of their grid whose values are compared.", "recipe", source="ours"),
        Slot("evaluate", "reference", "By which evaluation.", "robust", family="evaluate",
             optional_when="its recipes repeat one evaluation, or one alone (or one alone that attacks) is declared: then "
             "it is that", source="ours"),
        Slot("metric", "choice", "What is compared.", "accuracy", "accuracy", choices=("accuracy", "loss")),
        Slot("within", "number", "Differences up to this are none that matters: two are the same where the whole interval "
             "lies inside; points of accuracy, or the loss's unit.", "1%", "none", dimension="fraction", low="0",
             exclusive=True, absent="none", source="ours"),
    ),
    plural="comparisons",
)  # fmt: skip

ROWS = (GENERATOR, MIX, RECIPE, EVALUATE, GRID, DEVICE, BUDGET, FIT, FORECAST, ALLOCATE, COMPARE)
BLOCKS = {row.name: row for row in ROWS} | {
    "profile": BlockRow(
        "profile",
        "A variant of the study, chosen by `--profile`: it sets paths and declares what it needs.",
        "profile laptop { dataset digits  grid.runs.images in [4k, 8k]  budget.compute = 20 TFLOP }",
        (),
    )
}

#: Blocks that the language will have; naming one now gets a message of its own.
LATER = {
    "measure": "ε-curves, loss landscapes, transfer matrices",
    "search": "architecture search",
    "review": "human studies",
}

QUANTITIES = {
    row.name: row
    for row in (
        QuantityRow("params", "plain", "N, all trainable weights of the cell's network.", "params < 100M"),
        QuantityRow("images", "plain", "D, images drawn over the cell's training, as the grid says it.", "images <= 10M"),
        QuantityRow("fid", "plain", "Quality of the cell's generator, stated or measured.", "fid < 10"),
        QuantityRow("flops", "compute", "Training FLOPs of the cell by the rule count.", "flops <= 1e20 FLOP"),
        QuantityRow("epochs", "plain", "Images drawn over the dataset's declared epoch size.", "epochs >= 100"),
        QuantityRow("seed", "plain", "The cell's seed.", "seed == 0"),
        QuantityRow("model", "model", "The cell's network.", "model == wrn(28, 10)"),
        QuantityRow("generator", "generator", "The cell's generator.", "generator in [edm5, edm20]"),
        QuantityRow("generator.images", "plain", "Unique images the cell's generator has; of a mix the images a run may draw "
                    "before one of its generator comes twice.", "images <= generator.images"),
        QuantityRow("generator.fid", "plain", "The same as `fid`.", "generator.fid < 2"),
        QuantityRow("recipe", "recipe", "The cell's recipe. What a grid's axes sweep is a quantity too, under the name of the "
                    "axis: `recipe.loss.beta`.", "recipe == trades"),
    )
}  # fmt: skip

WORDS = {
    row.name: row
    for row in (
        WordRow("study", "The study of a file; `extends` starts from another one, imported.",
                "study mine extends robustness_limits { … }"),
        WordRow("extends", "Start from an imported study; what is declared again replaces its part. A recipe takes from "
                "another one every setting that it doesn't say.", "recipe mart5 extends trades { loss = mart(beta = 5) }"),
        WordRow("import", "Read another study file below this one's folder.", 'import "base.study"'),
        WordRow("let", "Give a value a name.", "let eps = 8/255"),
        WordRow("real", "The dataset's own training images, as the source of a generator.",
                "generator real_images { from = real }"),
        WordRow("dataset", "The data that the study is about.", "dataset cifar10"),
        WordRow("where", "Keep the cells or runs for which a condition holds.", "where images <= generator.images"),
        WordRow("in", "Declare an axis, or test membership.", "images in [5M, 10M]"),
        WordRow("zip", "Let several axes move together.", "zip (model, batch) in [(cnn(1), 64), (cnn(2), 128)]"),
        WordRow("log", "Values evenly spaced in the logarithm.", "images in log(1M .. 100M, 5)"),
        WordRow("if", "Choose by a condition; without `else` some cells may have no value, which is an error.",
                "0.3 if images <= 10M else 0.2"),
        WordRow("else", "The value where the condition of `if` fails.", "0.3 if images <= 10M else 0.2"),
        WordRow("and", "Both conditions hold.", "params < 100M and fid < 10"),
        WordRow("or", "At least one condition holds.", "params < 100M or fid < 10"),
        WordRow("not", "The condition fails.", "not (params < 100M)"),
        WordRow("of", "So many of a device.", "32 of h100"),
        WordRow("at", "When an evaluation is repeated: `at every`.", "robust at every 2.5%"),
        WordRow("every", "The share of training between two evaluations.", "robust at every 2.5%"),
        WordRow("true", "Yes.", "nesterov = true"),
        WordRow("false", "No.", "nesterov = false"),
        WordRow("any", "A portfolio of fits: answers carry their disagreement.", "law = any(quality, bottleneck)"),
    )
}  # fmt: skip
