"""Options of `fit`: how a run is carried out, and every field of the config."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jax_inr.cli.parsing import parse, parse_known
from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError
from jax_inr.io import text
from jax_inr.io.reading import read_json
from jax_inr.presets import preset


def _left_out(metavar: str, help: str | None = None) -> Any:
    """An option whose text says what holds when it is left out."""
    return tyro.conf.arg(metavar=metavar, help=help, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Fit images with coordinate networks.

    The same command with --out again goes on where it was stopped, or says that it is
    done. The defaults shown here are those of --preset, --config or --resume.
    """

    image: tyro.conf.Positional[
        Annotated[tuple[Path, ...], _left_out("IMAGE ...")]
    ] = ()
    """Images to fit, each into a folder of its own; left out: the sample cat."""
    sweep: Annotated[tuple[str, ...], _left_out("NAME=V,V,…")] = ()
    """Config fields to vary: a fit for each combination, as sigma=1,3,10 seed=0,1."""
    preset: Annotated[
        str, tyro.conf.arg(help=Config.__dataclass_fields__["preset"].metadata["doc"])
    ] = "default"
    config: Annotated[Path | None, _left_out("FILE")] = None
    """A config.json to take all fields from."""
    size: Annotated[
        str | None,
        _left_out(
            "N|HxW",
            "N: centre crop and resize to N x N; HxW (height x width): resize. Left "
            "out: as the image is, 224 for the sample.",
        ),
    ] = None
    max_pixels: int = 50_000_000
    """Refuse images of more pixels than this."""
    num_params: Annotated[int | None, _left_out("N")] = None
    """Pick the widths or the grid so that at most N numbers are trained."""
    out: Annotated[Path | None, _left_out("DIR")] = None
    """Folder of the run; what it holds goes on. Left out: a new one under runs/."""
    overwrite: bool = False
    """Replace the run in --out."""
    resume: Annotated[Path | None, _left_out("DIR")] = None
    """Go on with the run in this folder; --steps and the stopping rules may change."""
    checkpoint_seconds: float = 30.0
    """Seconds between two checkpoints."""
    film: bool = False
    """Record the fit as film.webp, and film.mp4 if imageio-ffmpeg is installed."""
    backend: Annotated[
        Literal["jax", "torch"] | None,
        tyro.conf.arg(metavar="{jax,torch}", help_behavior_hint=""),
    ] = None
    """What computes; torch is the reference. Left out: jax."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute."""
    max_memory: Annotated[float | None, _left_out("GIB")] = None
    """Refuse a fit that needs more GiB. Left out: what the machine has left."""
    json: bool = False
    """Print summary.json and nothing else on standard output."""
    quiet: bool = False
    """Print nothing but errors, notices and a folder that was chosen."""
    debug: bool = False
    """Print the traceback of an error."""


def sections() -> dict[str, list[dataclasses.Field[Any]]]:
    """The config's fields but `preset`, by the sections of config.py."""
    found: dict[str, list[dataclasses.Field[Any]]] = {}
    name = ""
    for field in dataclasses.fields(Config):
        name = field.metadata["section"] or name
        if field.name != "preset":
            found.setdefault(name, []).append(field)
    return found


def _section(name: str, fields: list[dataclasses.Field[Any]]) -> type:
    # tyro makes a box of the help of each struct: with OmitArgPrefixes, or of the
    # config itself, the fields would all lie in one.
    def option(field: dataclasses.Field[Any]) -> tuple[str, Any, Any]:
        about = tyro.conf.arg(help=field.metadata["doc"], prefix_name=False)
        return field.name, Annotated[field.type, about], getattr(Config(), field.name)

    members = [option(field) for field in fields]
    return dataclasses.make_dataclass(name.title(), members, frozen=True)


_SECTIONS = {name: _section(name, fields) for name, fields in sections().items()}
FitOptions: type[RunOptions] = dataclasses.make_dataclass(
    "FitOptions",
    [(name, kind, kind()) for name, kind in _SECTIONS.items()],
    bases=(RunOptions,),
    frozen=True,
    namespace={"__doc__": RunOptions.__doc__},
)


@dataclasses.dataclass(frozen=True)
class _Base:
    """The options that name where the defaults of all others come from."""

    preset: str | None = None
    config: Path | None = None
    resume: Path | None = None


def parse_fit(argv: list[str]) -> tuple[RunOptions, Config, Config]:
    """The options of `fit`, the config that they come to, and the one it began from.

    The defaults of the config's fields are those of --resume, --config or --preset.

    Raises:
        ConfigError: an option cannot be read, or a value is out of its range.
        CheckpointError: the config of a run to resume cannot be read.
        SystemExit: help was asked for, and is printed.
    """
    # tyro takes its own request for a completion script as the first word alone.
    base = (
        preset("default") if argv[:1] and argv[0].startswith("--tyro") else _base(argv)
    )
    fields = {
        name: kind(**{f.name: getattr(base, f.name) for f in dataclasses.fields(kind)})
        for name, kind in _SECTIONS.items()
    }
    default = FitOptions(preset=base.preset, **fields)
    options = parse(FitOptions, argv, "fit", default)
    values = {}
    for name in _SECTIONS:
        values |= dataclasses.asdict(getattr(options, name))
    asked = {word.partition("=")[0].replace("_", "-") for word in argv}
    # What was not asked for follows what was: a rate, its optimizer and network.
    changes = {
        name: value
        for name, value in values.items()
        if value != getattr(base, name) or f"--{name}".replace("_", "-") in asked
    }
    return options, base.replace(preset=options.preset, **changes), base


def _base(argv: list[str]) -> Config:
    named = parse_known(_Base, argv)
    if named.resume is not None:
        try:
            return read_config(named.resume / "config.json", follow=False)
        except ConfigError as error:
            hint = "check the path, or begin again with --overwrite"
            raise CheckpointError(str(error), hint) from error
    if named.config is None:
        return preset(named.preset or "default")
    if named.preset is not None:
        raise ConfigError("--config has all fields: it cannot go with --preset")
    return read_config(named.config)


def read_config(path: Path, *, follow: bool = True) -> Config:
    """The config in a JSON file; without `follow` a link is refused."""
    try:
        return Config.from_dict(read_json(path, follow=follow))
    except CheckpointError as error:
        raise ConfigError(str(error), error.hint) from error
    except ConfigError as error:
        raise ConfigError(f"{text.shown(path)}: {error}", error.hint) from error
