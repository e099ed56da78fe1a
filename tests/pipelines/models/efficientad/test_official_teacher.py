import hashlib
import io
import pickle
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from pipelines.core.errors import ToolError
from pipelines.models.efficientad.official_teacher import fetch_teacher
from pipelines.models.efficientad.teacher import load_teacher
from pipelines.models.engine.anomalib import SmallPatchDescriptionNetwork


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _zip(path: Path, content: bytes, member: str = "weights/pretrained_teacher_small.pth") -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _weights() -> tuple[torch.nn.Module, bytes]:
    network, stored = SmallPatchDescriptionNetwork(384), io.BytesIO()
    torch.save(network.state_dict(), stored)
    return network, stored.getvalue()


def test_a_fetched_teacher_is_kept_as_safetensors_and_is_the_same(site: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = site
    network, stored = _weights()
    sha256 = _zip(folder / "w.zip", stored)
    fetch_teacher(tmp_path / "kept", f"{address}/w.zip", sha256)
    teacher, described = load_teacher(str(tmp_path / "kept"))
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(teacher(picture), network(picture), atol=2e-3, rtol=1e-2)
    assert "anomalib" in described
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["recipe.json", "teacher.safetensors"]


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("content", "member", "wrong_sum", "message"),
    [
        (_weights()[1], "weights/pretrained_teacher_small.pth", True, "SHA-256"),
        (_weights()[1], "weights/another.pth", False, "holds no"),
        (pickle.dumps(_Code()), "pretrained_teacher_small.pth", False, "holds no"),
    ],
    ids=["other file", "no teacher", "code in a pickle"],
)
def test_what_is_not_the_teacher_is_refused_and_nothing_is_kept(
    content: bytes, member: str, wrong_sum: bool, message: str, site: tuple[Path, str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder, address = site
    sha256 = _zip(folder / "w.zip", content, member)
    with pytest.raises(ToolError, match=message):
        fetch_teacher(tmp_path / "kept", f"{address}/w.zip", "0" * 64 if wrong_sum else sha256)
    assert not (tmp_path / "kept").exists()
    assert "code ran" not in capsys.readouterr().out


def test_no_answer_and_no_web_address_name_the_bundled_teacher_or_the_scheme(tmp_path: Path) -> None:
    for url, message in (("http://127.0.0.1:9/w.zip", "cannot be fetched"), ("file:///etc/passwd", "no web address")):
        with pytest.raises(ToolError, match=message):
            fetch_teacher(tmp_path / "kept", url)
