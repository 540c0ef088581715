"""Write ``models/README.md``, the index of the gallery, from its docstrings and pictures.

    python docs/gallery_index.py              # run and draw every problem
    python docs/gallery_index.py coins plsa   # draw these, and keep the thumbnails of the others

The text comes from all files in either case. Thumbnails go to ``models/thumbnails/``.
"""

import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

import latentem as lem
from latentem import gallery

MODELS = Path(__file__).resolve().parents[1] / "models"
README, THUMBNAILS = MODELS / "README.md", MODELS / "thumbnails"
LARGEST = 30_000  # bytes of a thumbnail

# The themes, in order. Problems about EM are named; of the others the graph tells the theme.
TEACHING = {
    "coins", "complete_data", "convergence", "em_old_faithful", "linkage", "q_and_entropy",
    "three_gaussians",
}  # fmt: skip
THEMES = {
    "EM itself": "What a step is, what it climbs, and how fast.",
    "Mixtures": "One latent, one thing observed.",
    "Latent classes": "One latent behind several things observed.",
    "Several latents": "Latents of their own, tied, or one given the other.",
    "Regressions": "What is observed depends on covariates too.",
    "K-means": "The same engine under hard assignment.",
}

HEAD = """\
# The gallery

One file a textbook problem: its story, a model declared in a few lines, a fit, a picture, and a
figure that must come out. `latentem gallery` lists them, and runs one from wherever you are:

```sh
latentem gallery coins                # the picture goes to ./pictures
latentem gallery coins --out elsewhere
```

Each is short enough for a slide, imports public names only, and runs by itself too:
`python models/coins.py`. Its `declare()` returns the model, `fit(seed)` fits it by the default
call, and `main(folder)` checks the published figure and draws. The docstring tells the story.
"""

FOOT = """
## The photograph

`pagoda.png` is cropped and reduced to 240 × 180 pixels from [a photograph by
danielbuechele](https://www.flickr.com/photos/danielbuechele/6061409035/), licensed
[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/).

This page is written by `python docs/gallery_index.py`.
"""


def declared(name: str) -> lem.Model:
    """Return the model of a problem."""
    model: lem.Model = runpy.run_path(str(MODELS / f"{name}.py"))["declare"]()
    return model


def theme(name: str, model: lem.Model) -> str:
    """Return the theme of a problem: by its name if it is about EM, or else by its graph."""
    if name in TEACHING:
        return "EM itself"
    if model.requires_hard:
        return "K-means"
    if model.covariates:
        return "Regressions"
    if len(model.latents) > 1:
        return "Several latents"
    return "Latent classes" if len(model.observed) > 1 else "Mixtures"


def page() -> str:
    """Return the text of the index."""
    lessons = gallery.lessons()
    models = {name: declared(name) for name in lessons}
    lines = {name: line(name, lesson, str(models[name])) for name, lesson in lessons.items()}
    parts = [HEAD]
    for heading, what in THEMES.items():
        chosen = [lines[name] for name in lessons if theme(name, models[name]) == heading]
        table = ["| picture | problem |", "| --- | --- |", *chosen]
        if chosen:
            parts.append(f"\n## {heading}\n\n{what}\n\n" + "\n".join(table) + "\n")
    return "".join(parts) + FOOT


def line(name: str, lesson: str, formula: str) -> str:
    """Return a problem's line of the table; a bar within a cell needs a backslash."""
    words = f"[{name}.py]({name}.py): {lesson}<br>`{formula}`".replace("|", r"\|")
    picture, graph = f"![picture](thumbnails/{name}.png)", f"![graph](thumbnails/{name}_graph.png)"
    return f"| {picture} | {words}<br>{graph} |"


def draw(name: str) -> None:
    """Run a problem, and keep small copies of its picture and of its graph."""
    THUMBNAILS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shrink(gallery.run(name, Path(folder)), THUMBNAILS / f"{name}.png", (480, 300))
        ax = lem.plot.graph(declared(name))
        ax.set_title("")
        graph = Path(folder) / "graph.png"
        ax.figure.savefig(graph, dpi=200, bbox_inches="tight", pad_inches=0.05)
        shrink(graph, THUMBNAILS / f"{name}_graph.png", (280, 170))
    plt.close("all")


def shrink(source: Path, target: Path, size: tuple[int, int]) -> None:
    """Write a copy that is within a size in pixels, and smaller until it is light enough."""
    with Image.open(source) as picture:
        small = picture.convert("RGB")
    small.thumbnail(size, Image.Resampling.LANCZOS)
    small.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size > LARGEST:
        shrink(source, target, (size[0] * 4 // 5, size[1] * 4 // 5))


def main(names: Sequence[str]) -> None:
    """Draw the problems of these names, or all, and write the page."""
    for name in names or gallery.lessons():
        draw(name)
    wanted = {f"{name}{end}.png" for name in gallery.lessons() for end in ("", "_graph")}
    for picture in THUMBNAILS.glob("*.png"):
        if picture.name not in wanted:
            picture.unlink()
    README.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
