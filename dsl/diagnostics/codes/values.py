"""Diagnostic codes of the stage: values."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_GENERATOR = "generator g { sampler = edm(steps = 7) }"
_TRADES = "recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 }"
_GRID = "grid runs { model = cnn(2) generator = g images in [4k, 8k] }"
_FIT = f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n  {_GRID} fit law1 {{ law = approach2 }}\n  "

CODES: tuple[Code, ...] = (
    Code(
        "V101",
        "a number out of range",
        "The number has the right unit and an impossible size: outside its range, or above a setting of the same call "
        "that bounds it, as `eps` bounds the random step of `rfgsm`.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 3/2) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 8/255) } }",
    ),
    Code(
        "V102",
        "not one of the allowed words",
        "The setting takes one of a few words, which are listed.",
        "study tiny { dataset digits budget { choose = everything } }",
        "study tiny { dataset digits budget { choose = all } }",
    ),
    Code(
        "V103",
        "a missing setting",
        "The block or call needs a setting that has no default.",
        "study tiny { dataset digits evaluate e { attack = pgd() } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15) } }",
    ),
    Code(
        "V104",
        "a setting given twice",
        "Which of the two holds would be a guess.",
        "study tiny { dataset digits budget { storage = 1 GB storage = 2 GB } }",
        "study tiny { dataset digits budget { storage = 1 GB } }",
    ),
    Code(
        "V105",
        "settings that say the same thing twice",
        "A forecast is asked for a quality: `fid = …`, or a generator whose quality is meant. Not both. The images of a "
        "generator come from a sampler, or `from` files or real ones. Not both. An allocation has one objective: a "
        "`compute`, an `accuracy` or a `time`.",
        _FIT + "forecast f { law = law1 fid = 0 generator = g compute = 1 PFLOP } }",
        _FIT + "forecast f { law = law1 fid = 0 compute = 1 PFLOP } }",
    ),
    Code(
        "V106",
        "settings of a call in a wrong order or number",
        "Settings of a call may be given by position, in the order that `isoloss help` shows, then by name.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15, linf) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(linf, eps = 0.15) } }",
    ),
    Code(
        "V107",
        "not a whole number",
        "Steps, images, layers and seeds are counted.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15, steps = 2.5) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15, steps = 3) } }",
    ),
    Code(
        "V108",
        "a list without values",
        "An axis needs at least one value; a range begins at or below its end.",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n"
        "  grid runs { model = cnn(2) generator = g images = 4k seed in 3..1 } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n"
        "  grid runs { model = cnn(2) generator = g images = 4k seed in 1..3 } }",
    ),
    Code(
        "V109",
        "a division by zero",
        "A constant expression divides by zero.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 8/0) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 8/255) } }",
    ),
    Code(
        "V110",
        "settings that can't go together",
        "Each setting is fine by itself, but nothing does both. TRADES, PGD-AT, MART and half need an inner attack, "
        "training on clean or noisy images has none, and ensembles such as AutoAttack only test. An `allocate` within a "
        "`time` has no `overhead` to spend on a smaller network. A fit with `errors = correlated` has no stages and no "
        "`delta`, and is of single runs.",
        "study tiny { dataset digits recipe r { loss = trades() attack = none batch = 64 lr = 0.1 } }",
        "study tiny { dataset digits recipe r { loss = natural() batch = 64 lr = 0.1 } }",
    ),
    Code(
        "V111",
        "a text of another form",
        "Files are named by a path below the data root, which the command line or ISOLOSS_DATA gives: a study can't "
        "reach others. A digest is the 64 hex digits that `sha256sum` prints.",
        'study tiny { dataset digits generator g { sampler = edm(steps = 7) denoiser = pretrained(file = "../w.pt") } }',
        'study tiny { dataset digits generator g { sampler = edm(steps = 7) denoiser = pretrained(file = "w.pt") } }',
    ),
    Code(
        "V112",
        "a setting without meaning here",
        "A setting that belongs to another source of images: a sampler's denoiser beside files, a checksum or a licence "
        "of images that a sampler makes, the sines of curves that are polynomials.",
        'study tiny { dataset digits generator g { from = "made/*.npz" denoiser = mixture(components = 4) } }',
        'study tiny { dataset digits generator g { from = "made/*.npz" } }',
    ),
    Code(
        "V113",
        "a mix of a mix, or of real images",
        "A mix is made of one generator's images and real ones. A mix of a mix has a share of its own that is written "
        "directly; real images with real images among them are real images.",
        f"study tiny {{ dataset digits {_GENERATOR}\n"
        "  mix half { generator = g real = 1/2 }\n  mix less { generator = half real = 1/8 } }",
        f"study tiny {{ dataset digits {_GENERATOR}\n"
        "  mix half { generator = g real = 1/2 }\n  mix less { generator = g real = 1/8 } }",
    ),
    Code(
        "V114",
        "best weights that nothing chooses",
        "`weights = best` are those that scored highest while training was watched on the validation split. A recipe whose "
        "runs are tested so has to say `evaluate = NAME at every ..` of an evaluation with `split = validation`, and that "
        "one tests average or live weights.",
        f"study tiny {{ dataset digits {_GENERATOR}\n"
        "  evaluate chosen { attack = pgd(eps = 0.15) weights = best }\n"
        "  recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 } }",
        f"study tiny {{ dataset digits {_GENERATOR}\n"
        "  evaluate watch { attack = pgd(eps = 0.15) split = validation }\n"
        "  evaluate chosen { attack = pgd(eps = 0.15) weights = best }\n"
        "  recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 evaluate = watch at every 25% } }",
    ),
    Code(
        "V115",
        "a fit that doesn't say which evaluation it is about",
        "A law is fitted to what one evaluation measured. Where a fit names none it is the one that its recipes repeat during "
        "training, else the only one declared, else the only one that attacks. Here several could be meant, and points of "
        "two evaluations never stand in one law.",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n  {_GRID}\n"
        "  evaluate weak { attack = pgd(eps = 0.15) }\n  evaluate strong { attack = autoattack(eps = 0.15) }\n"
        "  fit law1 { law = chinchilla } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n  {_GRID}\n"
        "  evaluate weak { attack = pgd(eps = 0.15) }\n  evaluate strong { attack = autoattack(eps = 0.15) }\n"
        "  fit law1 { law = chinchilla evaluate = weak } }",
    ),
    Code(
        "V116",
        "a swept value that is also one for all cells",
        "An axis over a `let` gives it another value in every recipe and evaluation of the grid's runs. A generator, the dataset, "
        "the budget or a second axis is one for all of them.",
        f"study tiny {{ dataset digits let n = 7 generator g {{ sampler = edm(steps = n) }} {_TRADES}\n"
        "  grid runs { model = cnn(1) generator = g images = 4k recipe = r n in [5, 7] } }",
        f"study tiny {{ dataset digits let n = 7 generator g {{ sampler = edm(steps = 7) }} {_TRADES}\n"
        "  grid runs { model = cnn(1) generator = g images = 4k recipe = r n in [5, 7] } }",
    ),
    Code(
        "V117",
        "several evaluations where one is asked for",
        "An `evaluate` block with an axis over its attack is one evaluation for each value. A fit, a recipe's own evaluation or "
        "an allocation by name is about one.",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n  {_GRID}\n"
        "  evaluate curve { attack = pgd(eps = 0.15) attack.eps in [0.1, 0.2] }\n"
        "  fit law1 { law = chinchilla evaluate = curve } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n  {_GRID}\n"
        "  evaluate curve { attack = pgd(eps = 0.15) attack.eps in [0.1, 0.2] }\n"
        "  evaluate robust { attack = pgd(eps = 0.15) }\n  fit law1 { law = chinchilla evaluate = robust } }",
    ),
    Code(
        "V118",
        "a step that doesn't follow a swept ε",
        "A projected-gradient attack whose step stays where it is while its radius is swept is a weaker attack at one end of the "
        "sweep: too small a step doesn't cross a large ball, too large a one only bounces off a small one's border. A warning.",
        f"study tiny {{ dataset digits {_GENERATOR}\n"
        "  recipe r { loss = trades() attack = pgd(eps = 0.15, step = 0.02) batch = 64 lr = 0.1 }\n"
        "  grid runs { model = cnn(1) generator = g images = 4k recipe.attack.eps in [0.1, 0.3] } }",
        f"study tiny {{ dataset digits {_GENERATOR}\n"
        "  recipe r { loss = trades() attack = pgd(eps = 0.15) batch = 64 lr = 0.1 }\n"
        "  grid runs { model = cnn(1) generator = g images = 4k recipe.attack.eps in [0.1, 0.3] } }",
    ),
    Code(
        "V119",
        "a fit over several evaluations of one name",
        "A `let` that a grid sweeps has another value in every evaluation that uses it, so that runs are tested by attacks of one "
        "name that differ. A law's points come from one evaluation.",
        f"study tiny {{ dataset digits let eps = 0.1 {_GENERATOR} {_TRADES}\n"
        "  evaluate robust { attack = pgd(eps = eps) }\n"
        "  grid runs { model = cnn(1) generator = g images = 4k eps in [0.1, 0.2] }\n"
        "  fit law1 { law = chinchilla evaluate = robust } }",
        f"study tiny {{ dataset digits let eps = 0.1 {_GENERATOR} {_TRADES}\n"
        "  evaluate robust { attack = pgd(eps = 0.15) }\n"
        "  grid runs { model = cnn(1) generator = g images = 4k eps in [0.1, 0.2] }\n"
        "  fit law1 { law = chinchilla evaluate = robust } }",
    ),
    Code(
        "V120",
        "a comparison by what doesn't vary",
        "`by` is an axis of the grid that has at least two values: its recipe, model, generator, a swept setting such as "
        "`recipe.loss.beta`. Seeds are what comparisons are paired and averaged over.",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES}\n  {_GRID}\n"
        "  evaluate robust { attack = pgd(eps = 0.15) }\n  compare better { by = recipe } }",
        f"study tiny {{ dataset digits {_GENERATOR} {_TRADES} recipe q extends r {{ loss = mart() }}\n"
        "  grid runs { model = cnn(1) generator = g images = 4k recipe in [r, q] seed in 0..2 }\n"
        "  evaluate robust { attack = pgd(eps = 0.15) }\n  compare better { by = recipe } }",
    ),
)
