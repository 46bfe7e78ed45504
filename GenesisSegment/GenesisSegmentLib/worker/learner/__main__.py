"""``python -m GenesisSegmentLib.worker.learner [--log FILE]``."""

from __future__ import annotations

from ..pipes import Outlet
from ..start import arguments_of, run


def main() -> None:
    """Serves until the parent is gone or says so; does not return."""
    arguments = arguments_of(
        "GenesisSegmentLib.worker.learner", "Learns from corrections, on stdin/stdout."
    ).parse_args()

    def serve(commands: int, outlet: Outlet) -> int:
        from ..server import Server
        from .service import APART, LearnerService

        service = LearnerService()
        server = Server(outlet, service, str(arguments.log or ""), apart=APART, on_end=service.leave)
        return server.serve(commands)

    run(arguments.log, serve)


if __name__ == "__main__":
    main()
