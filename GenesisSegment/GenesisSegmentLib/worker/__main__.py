"""``python -m GenesisSegmentLib.worker [--log FILE] [--idle-minutes N]``."""

from __future__ import annotations

from .pipes import Outlet
from .start import arguments_of, run
from .warm import IDLE_MINUTES


def main() -> None:
    """Serves until the parent is gone or says so; does not return."""
    parser = arguments_of("GenesisSegmentLib.worker", "Serves the engine on stdin/stdout.")
    parser.add_argument(
        "--idle-minutes",
        type=float,
        default=IDLE_MINUTES,
        help="without a run until the memory of the models is given back (default: %(default)g)",
    )
    arguments = parser.parse_args()

    def serve(commands: int, outlet: Outlet) -> int:
        from .server import Server
        from .service import Service

        return Server(outlet, Service(arguments.idle_minutes), str(arguments.log or "")).serve(commands)

    run(arguments.log, serve)


if __name__ == "__main__":
    main()
