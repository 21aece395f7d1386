"""Diagnostic codes of the stage: names."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_TRADES = "recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 }"
_GENERATOR = "generator g { sampler = edm(steps = 7) }"

_PROFILED = (
    "$ printf 'study tiny { dataset cifar10 profile laptop { dataset digits } }' > good.study\n"
    "$ isoloss check good.study --profile "
)

CODES: tuple[Code, ...] = (
    Code(
        "N101",
        "an unknown name",
        "A name in an expression is a `let`, a quantity of the cell (`params`, `images`, `fid`, `flops`, `epochs`, "
        "`seed`, `model`, `generator`, `recipe`), or in comparisons the name of a generator or recipe.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = epz) } }",
        "study tiny { dataset digits let epz = 0.15 evaluate e { attack = pgd(eps = epz) } }",
    ),
    Code(
        "N102",
        "an unknown setting",
        "The block or the registered thing has no such setting. All it has are listed.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15, stesp = 10) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15, steps = 10) } }",
    ),
    Code(
        "N103",
        "not a registered thing of this kind",
        "Attacks, losses, networks, samplers and so on are registered by name; installed packages may add their own.",
        "study tiny { dataset digits evaluate e { attack = pdg(eps = 0.15) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15) } }",
    ),
    Code(
        "N104",
        "a reference to a block that isn't declared",
        "Generators, recipes, evaluations, grids and fits are declared as blocks before anything can name them; their "
        "order in the file does not matter.",
        "study tiny { dataset digits forecast f { law = lawl fid = 0 compute = 1 PFLOP } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n"
        "  grid runs { model = cnn(2) generator = g images in [4k, 8k] }\n"
        "  fit law1 { law = approach2 } forecast f { law = law1 fid = 0 compute = 1 PFLOP } }",
    ),
    Code(
        "N105",
        "one name for two things",
        "Within a study, and within a profile, a thing is declared once. An extending study or a profile may declare it "
        "again: that replaces it.",
        "study tiny { dataset digits let eps = 0.1 let eps = 0.2 }",
        "study tiny { dataset digits let eps = 0.1 }",
    ),
    Code(
        "N106",
        "a name that already has a meaning",
        "Quantities of a cell and words of the language can't be given another value by `let`.",
        "study tiny { dataset digits let images = 10k }",
        "study tiny { dataset digits let most_images = 10k }",
    ),
    Code(
        "N107",
        "a value defined by itself",
        "A `let` names itself, at once or through others, so it has no value.",
        "study tiny { dataset digits let a = b let b = a }",
        "study tiny { dataset digits let a = 0.1 let b = a }",
    ),
    Code(
        "N108",
        "a path that leads nowhere",
        "Profiles and `--set` change single settings by path: block, name, setting, and for a call one of its own "
        "settings: `grid.runs.images`, `budget.compute`, `recipe.trades.attack.steps`.",
        "study tiny { dataset digits profile p { grid.rnus.images in [4k] } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n"
        "  grid runs { model = cnn(2) generator = g images in [8k] }\n"
        "  profile p { grid.runs.images in [4k] } }",
    ),
    Code(
        "N109",
        "a part of the language that this version hasn't",
        "The word is taken for a coming block, and this version can't do what it would ask for.",
        "study tiny { dataset digits measure m { } }",
        "study tiny { dataset digits }",
    ),
    Code(
        "N110",
        "an unknown block",
        "The language has the blocks that are listed, no others.",
        "study tiny { dataset digits gird runs { images = 4k } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n"
        "  grid runs { model = cnn(2) generator = g images = 4k } }",
    ),
    Code(
        "N111",
        "an unknown profile",
        "`--profile` takes the name of a `profile` block of the study.",
        _PROFILED + "latpop",
        _PROFILED + "laptop",
    ),
    Code(
        "N112",
        "a study that isn't imported",
        "`extends` starts from a study that the file imports; it goes by the study's name, not the file's.",
        "study mine extends base { dataset digits }",
        "study mine { dataset digits }",
    ),
    Code(
        "N113",
        "a word that help doesn't know",
        "`isoloss help` explains words of the language and diagnostic codes; without a word it lists them all.",
        "$ isoloss help stesp",
        "$ isoloss help steps",
    ),
    Code(
        "N114",
        "recipes that extend each other",
        "A recipe takes what it doesn't say from the one that it extends, so that their chain has to end.",
        "study tiny { dataset digits recipe a extends b { lr = 0.1 } recipe b extends a { loss = natural() batch = 64 } }",
        "study tiny { dataset digits recipe a { loss = natural() batch = 64 lr = 0.1 } recipe b extends a { lr = 0.2 } }",
    ),
)
