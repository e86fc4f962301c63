"""What python-tuf says: tuf_target.py ROOT DIR NAME loads the TUF repository in DIR, starting from the
root document ROOT, and writes the target NAME to standard output. Fails when it does not hold."""

import pathlib
import sys
import tempfile

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig


class FromDirectory(FetcherInterface):
    """Plain files in place of a web server."""

    def _fetch(self, url):
        try:
            yield pathlib.Path(url).read_bytes()
        except FileNotFoundError as error:
            raise DownloadHTTPError("not found", 404) from error


root, directory, name = sys.argv[1:]
with tempfile.TemporaryDirectory() as cache:
    updater = Updater(
        metadata_dir=cache,
        metadata_base_url=f"{directory}/",
        target_dir=cache,
        target_base_url=f"{directory}/",
        fetcher=FromDirectory(),
        config=UpdaterConfig(prefix_targets_with_hash=False),
        bootstrap=pathlib.Path(root).read_bytes(),
    )
    updater.refresh()
    info = updater.get_targetinfo(name)
    if info is None:
        sys.exit(f"no target {name}")
    sys.stdout.buffer.write(pathlib.Path(updater.download_target(info)).read_bytes())
