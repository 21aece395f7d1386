"""The page's style: one sheet, two colour schemes, print and phone.

Categories follow Okabe and Ito's colour-blind-safe set (darkened or lightened to keep contrast on each
background); the sequence is viridis, its pale end cut on white and its dark end cut on black."""

from __future__ import annotations

_LIGHT_CATEGORIES = ["#0072b2", "#c94f00", "#00805d", "#a8417c", "#7a6200", "#5b4fb3", "#6b6b6b", "#8a4b2a"]
_DARK_CATEGORIES = ["#56b4e9", "#ff9557", "#2fcfa0", "#f09bc8", "#e8c547", "#a99eff", "#b9b9b9", "#dba97f"]
_LIGHT_SEQUENCE = [
    "#6fbf4b",
    "#41b06a",
    "#22a07e",
    "#218f8c",
    "#287d8e",
    "#31688e",
    "#3b528b",
    "#443983",
    "#481f70",
    "#440154",
]
_DARK_SEQUENCE = [
    "#5b86d6",
    "#3f97c6",
    "#31a5b4",
    "#2ab3a3",
    "#38c18f",
    "#58cd7b",
    "#80d865",
    "#aae04f",
    "#d3e541",
    "#fde725",
]


def _scheme(categories: list[str], sequence: list[str], rest: str) -> str:
    colours = [f"--c{i}:{c}" for i, c in enumerate(categories)] + [
        f"--s{i}:{c}" for i, c in enumerate(sequence)
    ]
    return ";".join([*colours, rest])


_LIGHT = _scheme(
    _LIGHT_CATEGORIES,
    _LIGHT_SEQUENCE,
    "--bg:#fff;--card:#fff;--soft:#f4f6f8;--line:#d9dee3;--grid:#e8ebee;--ink:#1a1f24;--mute:#59636e;"
    "--link:#0969da;--good:#1a7f37;--bad:#b3261e;--wait:#8a5a00;color-scheme:light",
)
_DARK = _scheme(
    _DARK_CATEGORIES,
    _DARK_SEQUENCE,
    "--bg:#0f1215;--card:#161a1f;--soft:#1c2228;--line:#333c45;--grid:#262d34;--ink:#e8ecf0;--mute:#9aa6b2;"
    "--link:#6cb6ff;--good:#4cc46a;--bad:#ff8a80;--wait:#e3b341;color-scheme:dark",
)

_COLOUR_CLASSES = "".join(
    [f".c{i}{{--c:var(--c{i})}}" for i in range(8)] + [f".s{i}{{--c:var(--s{i})}}" for i in range(10)]
)

_PAGE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1120px;margin:0 auto;padding:0 20px}
header{padding-top:36px}
h1{font-size:2rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere;letter-spacing:-.01em}
h2{font-size:1.4rem;margin:3rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line);
scroll-margin-top:3rem}
h3{font-size:1.05rem;margin:1.8rem 0 .4rem}
p,li{max-width:76ch}
p{margin:.5rem 0}
.sub,.note,figcaption,.none{color:var(--mute)}
.sub{margin:.1rem 0}
.note,figcaption{font-size:.875rem}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
code,.id{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
nav{position:sticky;top:0;z-index:2;background:var(--bg);border-bottom:1px solid var(--line);margin-top:1rem}
nav div{max-width:1120px;margin:0 auto;padding:.55rem 20px;display:flex;gap:1.1rem;overflow-x:auto;
white-space:nowrap;font-size:.9rem}
.banner{border-left:4px solid var(--wait);background:var(--soft);padding:.6rem .9rem;margin:1rem 0;
max-width:none}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,150px),1fr));gap:10px;
margin:1.2rem 0;padding:0}
.tile{background:var(--soft);border-radius:8px;padding:.65rem .85rem}
.tile b{display:block;font-size:1.3rem;font-weight:600;line-height:1.3}
.tile span{font-size:.83rem;color:var(--mute)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:14px;
margin:1rem 0;align-items:start}
.card{border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;background:var(--card);
break-inside:avoid}
.card h3{margin:.1rem 0 .4rem;display:flex;justify-content:space-between;gap:.6rem;align-items:baseline;
flex-wrap:wrap}
.card dl{margin:.4rem 0}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.5rem 0}
dl.facts dt{color:var(--mute)}dl.facts dd{margin:0;overflow-wrap:anywhere}
.ci{color:var(--mute);white-space:nowrap}
.state{font-size:.78rem;font-weight:600;border:1px solid currentColor;border-radius:99px;padding:0 .55em;
white-space:nowrap}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
.figs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:22px 26px;
margin:1rem 0;
align-items:start}
figure{margin:0;break-inside:avoid;min-width:0;max-width:560px}
figcaption{margin-top:.3rem;max-width:70ch}
.scroll{overflow-x:auto;margin:.7rem 0}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.28rem .7rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--mute);white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap}
tbody tr:target{background:var(--soft)}
details{margin:.7rem 0}summary{cursor:pointer;font-weight:600}
.pairs{display:flex;flex-wrap:wrap;gap:14px 18px;margin:.8rem 0}
.pair{font-size:.8rem;line-height:1.35}
.pair div{display:flex;gap:3px}
.pair img{width:72px;height:72px;image-rendering:pixelated;display:block;border:1px solid var(--line)}
footer{padding-top:1.5rem;padding-bottom:3rem;color:var(--mute);font-size:.875rem}
"""

_PLOT = """
.plot{display:block;width:100%;height:auto;
font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
.plot text{fill:var(--ink)}
.plot .tx,.plot .ty{font-size:11px;fill:var(--mute)}
.plot .tx,.plot .axis{text-anchor:middle}.plot .ty{text-anchor:end}
.plot .head{font-weight:600;font-size:12.5px}
.plot .grid{stroke:var(--grid);fill:none}
.plot .frame,.plot .tick{stroke:var(--mute);fill:none}.plot .tick{opacity:.6}
.plot .ln{fill:none;stroke:var(--c);stroke-width:1.9;stroke-linejoin:round}
.plot .thin{stroke-width:1;opacity:.75}.plot .dash{stroke-dasharray:6 4}.plot .dot{stroke-dasharray:1.5 3.5}
.plot .bd{fill:var(--c);opacity:.17}
.plot .pt{fill:var(--c);stroke:var(--bg);stroke-width:.8}
.plot .hollow{fill:var(--bg);stroke:var(--c);stroke-width:1.6}
.plot .eb{stroke:var(--c);stroke-width:1.3;opacity:.75;fill:none}
.plot .rule{stroke:var(--mute);stroke-dasharray:3 3;fill:none}
.plot .rl,.plot .lg{font-size:11.5px}.plot .rl{fill:var(--mute)}
.plot .el{font-size:11.5px;fill:var(--c)}
.plot .lead{stroke:var(--mute);stroke-width:.6;fill:none}
.plot .on{font-size:11px;fill:var(--c);text-anchor:middle;paint-order:stroke;stroke:var(--bg);
stroke-width:7px;
stroke-linejoin:round}
.ink{--c:var(--ink)}.mute{--c:var(--mute)}
"""

_SMALL = """
@media(max-width:600px){main,header,footer{padding-left:14px;padding-right:14px}nav div{padding-left:14px}
h1{font-size:1.55rem}dl.facts{grid-template-columns:auto 1fr;gap:.25rem .8rem}
.tile b{font-size:1.1rem}}
@media print{nav{display:none}body{font-size:10.5pt}main,header,footer{max-width:none;padding:0}
h2,h3{break-after:avoid}.figs{grid-template-columns:1fr 1fr}.scroll{overflow:visible}table{font-size:8pt}
tr{break-inside:avoid}a{color:inherit}details::details-content{content-visibility:visible;display:block;
height:auto}}
"""

#: Print is always light, whatever the screen is.
CSS = (
    f":root{{{_LIGHT}}}@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    + _COLOUR_CLASSES
    + _PAGE
    + _PLOT
    + _SMALL
)
