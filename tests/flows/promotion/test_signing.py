"""Signed versions: what the project's key has not signed is not loaded where the policy asks for it."""

import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.adapting.origins import find_origins
from flows.promotion.signing import refuse_unsigned, sign_version
from pipelines.core.errors import ModelError, ToolError
from pipelines.core.paths import Project
from pipelines.core.surface_settings import read_surface
from pipelines.detector.checksums import TAG, check_folder
from pipelines.detector.signature import TAG as SIGNATURE
from pipelines.detector.signature import is_signed, make_key, sign
from pipelines.tracking.store import Tracking
from tests.tiny_version import save_version

LIST = "ab" * 32
# RFC 8032, 7.1, test 1: the key that signs an empty message, as PKCS #8.
RFC_KEY = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""


def test_a_signature_is_of_one_surface_one_list_and_one_key(tmp_path: Path) -> None:
    private, public = tmp_path / "kept" / "key.pem", tmp_path / "key.pub.pem"
    make_key(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    signature = sign(private, "oak", LIST)
    assert is_signed(public, "oak", LIST, signature)
    assert not is_signed(public, "pine", LIST, signature)
    assert not is_signed(public, "oak", "cd" * 32, signature)
    for other in ("", "nonsense", signature[:-4], "A" * 88):
        assert not is_signed(public, "oak", LIST, other)
    make_key(tmp_path / "another.pem", tmp_path / "another.pub.pem")
    assert not is_signed(tmp_path / "another.pub.pem", "oak", LIST, signature)
    with pytest.raises(ToolError, match="there already"):
        make_key(private, tmp_path / "new.pem")
    public.write_text("no key")
    with pytest.raises(ToolError, match="no Ed25519 key"):
        is_signed(public, "oak", LIST, signature)


def test_a_key_of_the_standard_is_read(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    known = load_pem_private_key(RFC_KEY, None).public_key()
    public = known.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    (tmp_path / "key.pem").write_bytes(RFC_KEY)
    (tmp_path / "key.pub.pem").write_bytes(known.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert is_signed(tmp_path / "key.pub.pem", "oak", LIST, sign(tmp_path / "key.pem", "oak", LIST))


@pytest.fixture
def tracking(project: Project) -> Tracking:
    """A surface with one version, registered before there was a key."""
    paths = project.surface("oak")
    paths.settings.parent.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(yaml.safe_dump({"source": {"layout": "folder", "path": "/x"}}))
    found = Tracking(project)
    _register(found, project)
    return found


def _register(tracking: Tracking, project: Project, surface: str = "oak", brightness: float = 100.0) -> int:
    folder = project.root / f"fitted-{len(list(project.root.iterdir()))}"
    folder.mkdir()
    save_version(folder, brightness)
    with tracking.run(surface, "padim", tags={}) as run:
        return tracking.register(run, surface, folder, {"algorithm": "padim"}, "a card").version


def require(project: Project) -> None:
    settings = project.surface("oak").settings
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), "policy": {"require_signature": True}}))


def test_what_is_not_signed_is_not_loaded_where_the_policy_asks_for_it_nor_signed_where_it_was_changed(
    project: Project, tracking: Tracking
) -> None:
    tracking.folder("oak", 1)
    require(project)
    with pytest.raises(ModelError, match="to check its signature") as refused:
        tracking.folder("oak", 1)
    assert "knotwatch sign oak --version 1" in refused.value.hint
    with pytest.raises(ToolError, match="must be signed"):
        refuse_unsigned(project, "oak", read_surface(project, "oak"))
    told = tracking.folder("oak", 1, signed=False) / "model.json"
    whole = told.read_bytes()
    told.write_bytes(whole + b" ")
    with pytest.raises(ModelError, match="was changed"):
        sign_version(project, "oak", 1)
    assert not project.public_key.exists()
    told.write_bytes(whole)
    assert sign_version(project, "oak", 1).key == "mlflow/signing-key.pub.pem"
    project.public_key.unlink()
    assert sign_version(project, "oak", 1).key, "what a call that was ended between the two files left is completed"
    tracking.folder("oak", 1)
    refuse_unsigned(project, "oak", read_surface(project, "oak"))
    second = _register(tracking, project)
    tracking.folder("oak", second)
    # Whoever may write to the registry, and has no key.
    of_first = tracking.version("oak", 1).tags[SIGNATURE]
    tracking.tag_version("oak", second, {SIGNATURE: of_first + "="})
    with pytest.raises(ModelError, match="not signed with this project's key"):
        tracking.folder("oak", second)


def test_a_signed_surface_is_adapted_from_nothing_unsigned_whatever_the_source_s_policy(
    project: Project, tracking: Tracking
) -> None:
    number = _register(tracking, project, "pine")
    require(project)
    with pytest.raises(ModelError, match=f"pine version {number} is not used: .*policy.require_signature of 'oak'"):
        find_origins(tracking, "pine", ["padim"], "oak")
    sign_version(project, "pine", number)
    assert find_origins(tracking, "pine", ["padim"], "oak")[0].version == number


def test_a_registry_that_answers_twice_is_believed_once(
    project: Project, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a planted version for the files, then that of a signed one for the signature."""
    sign_version(project, "oak", 1)
    project.signing_key.rename(project.root / "elsewhere.pem")
    planted = _register(tracking, project, brightness=180.0)
    require(project)
    asked, ask = [], tracking.client.get_model_version

    def answer(name: str, number: str) -> Any:
        asked.append(number)
        # The third time it was asked for the signature.
        return ask(name, "1" if len(asked) == 3 else number)

    monkeypatch.setattr(tracking.client, "get_model_version", answer)
    with pytest.raises(ModelError, match="not signed"):
        tracking.folder("oak", planted)


def test_a_folder_of_somebody_else_s_is_copied_before_it_is_checked(project: Project, tracking: Tracking) -> None:
    """Whoever wrote a signed version's files there could change them between the check and their use."""
    sign_version(project, "oak", 1)
    require(project)
    theirs = project.root / "theirs"
    shutil.copytree(tracking.folder("oak", 1).parents[1], theirs)
    tags = tracking.version("oak", 1).tags
    made = tracking.client.create_model_version("oak", theirs.as_uri(), tags=tags)
    used = tracking.folder("oak", int(made.version))
    for file in theirs.rglob("model.json"):
        file.write_text("{}")
    check_folder(used, tags[TAG])


def test_a_registry_that_names_another_surface_gets_no_other_policy(
    project: Project, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(project)
    tracking.set_alias("oak", "champion", 1)
    ask = tracking.client.search_model_versions

    def answer(words: str) -> Any:
        found = ask(words)
        for one in found:
            one._name = "elsewhere"
        return found

    monkeypatch.setattr(tracking.client, "search_model_versions", answer)
    with pytest.raises(ModelError, match="a version of 'elsewhere' where 'oak' was asked for"):
        tracking.champion("oak")
