"""Downloads: whole, checked every time, or not there at all, with the address and the remedy said."""

import hashlib
import time

import pytest

from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.sources import download, transfer

DATA = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(DATA).hexdigest()


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def _only_file(folder):
    (found,) = _files(folder)
    return found


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("https://download.pytorch.org/models/resnext101_32x8d-110c445d.pth", "110c445d"),
        ("https://x.org/v0.1-rsb-weights/resnext50_32x4d_a1_0-b5a91a1d.pth?download=1", "b5a91a1d"),
        ("https://x.org/model.safetensors", None),
        ("https://x.org/resnet-50.pth", None),
        ("https://x.org/a-0123abcd/model.pth", None),
    ],
)
def test_sha256_prefix_in_a_name(url, prefix):
    assert download.prefix_in_name(url) == prefix


@pytest.mark.parametrize("prefix", [SHA256[:8], SHA256, None])
def test_download_then_cache(web, tmp_path, prefix):
    url = f"{web.url}/models/net-{SHA256[:8]}.pth"
    web.files[f"/models/net-{SHA256[:8]}.pth"] = DATA
    steps = []
    path = download.fetch(url, sha256_prefix=prefix, cache=tmp_path, progress=lambda *step: steps.append(step))
    assert path.read_bytes() == DATA
    assert path == _only_file(tmp_path) == download.cached_path(url, tmp_path)
    assert path.name == f"net-{SHA256[:8]}.pth", "messages and records tell it"
    assert {(what, total) for what, _, total in steps} == {(f"net-{SHA256[:8]}.pth", len(DATA))}
    done = [count for _, count, _ in steps]
    assert done == sorted(done)
    assert done[-1] == len(DATA)
    assert download.fetch(url, sha256_prefix=prefix, cache=tmp_path) == path
    assert len(web.seen) == 1


def test_wrong_sha256_is_set_aside_and_never_used(web, tmp_path):
    web.files["/net-00000000.pth"] = DATA
    url = f"{web.url}/net-00000000.pth"
    with pytest.raises(EnvironmentError_) as caught:
        download.fetch(url, sha256_prefix="00000000", cache=tmp_path)
    assert caught.value.exit_code == 5
    for fact in (url, "00000000", SHA256, ".mismatch"):
        assert fact in caught.value.message
    assert "--weights" in caught.value.remedy
    assert _only_file(tmp_path).name == "net-00000000.pth.mismatch"


def test_cached_file_is_checked_again(web, tmp_path):
    web.files["/net.pth"] = DATA
    path = download.fetch(f"{web.url}/net.pth", sha256_prefix=SHA256[:8], cache=tmp_path)
    path.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(EnvironmentError_, match="mismatch"):
        download.fetch(f"{web.url}/net.pth", sha256_prefix=SHA256[:8], cache=tmp_path)
    assert not path.exists()
    assert len(web.seen) == 1
    assert download.fetch(f"{web.url}/net.pth", sha256_prefix=SHA256[:8], cache=tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("prefix", [SHA256, SHA256[:8], None])
def test_cut_connection_is_taken_up_again_at_once(web, tmp_path, prefix):
    web.files["/net.pth"], web.ranged = DATA, True
    web.cut_once.add("/net.pth")
    steps = []
    url = f"{web.url}/net.pth"
    path = download.fetch(url, sha256_prefix=prefix, cache=tmp_path, progress=lambda *step: steps.append(step))
    assert path.read_bytes() == DATA
    assert _only_file(tmp_path) == path
    (asked,) = web.ranges
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= len(DATA) // 2
    done = [count for _, count, _ in steps]
    assert done == sorted(done), "nothing is downloaded twice"
    assert {total for _, _, total in steps} == {len(DATA)}


@pytest.mark.parametrize("prefix", [SHA256[:8], None])
def test_connection_that_stays_cut_leaves_a_part_for_the_next_time(web, tmp_path, prefix):
    web.files["/net.pth"] = DATA
    web.cut.add("/net.pth")
    url = f"{web.url}/net.pth"
    with pytest.raises(EnvironmentError_) as caught:
        download.fetch(url, sha256_prefix=prefix, cache=tmp_path)
    assert url in caught.value.message
    assert "the same command goes on" in caught.value.message
    assert not download.cached_path(url, tmp_path).exists()
    part = download.cached_path(url, tmp_path).with_name(f"{download.cached_path(url, tmp_path).name}.part")
    held = part.stat().st_size
    assert 0 < held <= len(DATA) // 2
    web.cut.clear()
    web.ranged = True
    web.ranges.clear()
    assert download.fetch(url, sha256_prefix=prefix, cache=tmp_path).read_bytes() == DATA
    assert web.ranges == [f"bytes={held}-"]
    assert _only_file(tmp_path) == download.cached_path(url, tmp_path)


def test_part_of_a_file_that_has_changed_is_not_gone_on_with(web, tmp_path):
    url = f"{web.url}/net.pth"
    web.files["/net.pth"], web.ranged = DATA, True
    web.cut.add("/net.pth")
    with pytest.raises(EnvironmentError_):
        download.fetch(url, sha256_prefix=None, cache=tmp_path)
    web.cut.clear()
    web.files["/net.pth"] = DATA[::-1]
    assert download.fetch(url, sha256_prefix=None, cache=tmp_path).read_bytes() == DATA[::-1]


def test_part_without_a_version_is_only_gone_on_with_where_a_sha256_is_known(web, tmp_path):
    url = f"{web.url}/net.pth"
    part = download.cached_path(url, tmp_path).with_name("net.pth.part")
    web.files["/net.pth"], web.ranged = DATA, True
    part.parent.mkdir()
    part.write_bytes(b"x" * 1000)
    assert download.fetch(url, sha256_prefix=None, cache=tmp_path).read_bytes() == DATA
    assert web.ranges == []
    download.cached_path(url, tmp_path).unlink()
    part.write_bytes(b"x" * 1000)
    with pytest.raises(EnvironmentError_, match="mismatch"):
        download.fetch(url, sha256_prefix=SHA256, cache=tmp_path)
    assert web.ranges == ["bytes=1000-"]
    assert download.fetch(url, sha256_prefix=SHA256, cache=tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(("there", "requests"), [(DATA, 1), (DATA + b"more", 2)])
def test_part_that_is_whole_or_too_long(web, tmp_path, there, requests):
    url = f"{web.url}/net.pth"
    web.files["/net.pth"], web.ranged = DATA, True
    part = download.cached_path(url, tmp_path).with_name("net.pth.part")
    part.parent.mkdir()
    part.write_bytes(there)
    assert download.fetch(url, sha256_prefix=SHA256, cache=tmp_path).read_bytes() == DATA
    assert len(web.seen) == requests


def test_part_that_another_process_is_at_is_left_alone(web, tmp_path):
    url = f"{web.url}/net.pth"
    web.files["/net.pth"] = DATA
    path = download.cached_path(url, tmp_path)
    path.parent.mkdir()
    with transfer.part_of(path) as theirs:
        theirs.stream.write(b"theirs")
        theirs.stream.flush()
        assert download.fetch(url, sha256_prefix=SHA256, cache=tmp_path) == path
        assert theirs.path.read_bytes() == b"theirs"
    assert {file.name for file in _files(tmp_path)} == {path.name, f"{path.name}.part"}


def test_interruption_leaves_a_part_for_the_next_time(web, tmp_path):
    web.files["/net.pth"], web.ranged = DATA, True

    def interrupt(_what, done, _total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch(f"{web.url}/net.pth", sha256_prefix=None, cache=tmp_path, progress=interrupt)
    assert {file.name.partition(".pth")[2] for file in _files(tmp_path)} == {".part", ".part.version"}
    assert download.fetch(f"{web.url}/net.pth", sha256_prefix=None, cache=tmp_path).read_bytes() == DATA
    assert len(web.ranges) == 1


def test_redirects_are_followed_in_the_web_only(web, tmp_path):
    web.files["/net.pth"] = DATA
    web.redirects |= {"/old/net.pth": "/net.pth", "/local/net.pth": "file:///etc/hostname", "/loop": "/loop"}
    assert download.fetch(f"{web.url}/old/net.pth", sha256_prefix=SHA256, cache=tmp_path).read_bytes() == DATA
    with pytest.raises(EnvironmentError_, match="file:///etc/hostname") as caught:
        download.fetch(f"{web.url}/local/net.pth", sha256_prefix=None, cache=tmp_path)
    assert f"{web.url}/local/net.pth redirects to" in caught.value.message
    with pytest.raises(EnvironmentError_, match="more than 10 times"):
        download.fetch(f"{web.url}/loop", sha256_prefix=None, cache=tmp_path)
    assert len(_files(tmp_path)) == 1


def test_redirect_from_https_to_http_is_not_followed(web, tmp_path, monkeypatch):
    requests = pytest.importorskip("requests")
    real, asked = requests.get, []

    def get(url, **options):
        asked.append((url, options.get("verify", True)))
        return real(url.replace("https://elsewhere", web.url), **options)

    monkeypatch.setattr(requests, "get", get)
    web.redirects["/net.pth"] = f"{web.url}/other.pth"
    with pytest.raises(EnvironmentError_, match="only https addresses"):
        download.fetch("https://elsewhere/net.pth", sha256_prefix=None, cache=tmp_path)
    assert asked == [("https://elsewhere/net.pth", True)]


@pytest.mark.parametrize("said", [True, False])
def test_size_limit(web, tmp_path, said, monkeypatch):
    web.files["/net.pth"] = DATA
    if not said:  # a server that does not tell the size
        monkeypatch.setattr(transfer, "_total", lambda headers, there: None)
    with pytest.raises(EnvironmentError_, match="larger than") as caught:
        download.fetch(f"{web.url}/net.pth", sha256_prefix=SHA256, cache=tmp_path, limit=len(DATA) - 1)
    assert f"{web.url}/net.pth" in caught.value.message
    assert "--weights" in caught.value.remedy
    assert _files(tmp_path) == []
    assert download.fetch(f"{web.url}/net.pth", sha256_prefix=SHA256, cache=tmp_path, limit=len(DATA))


def test_missing_on_the_server(web, tmp_path):
    with pytest.raises(EnvironmentError_, match=r"/net\.pth answered HTTP 404") as caught:
        download.fetch(f"{web.url}/net.pth", sha256_prefix=None, cache=tmp_path)
    assert caught.value.exit_code == 5
    assert _files(tmp_path) == []


def test_no_network_fails_at_once(nowhere, tmp_path):
    start = time.monotonic()
    with pytest.raises(EnvironmentError_, match="refused") as caught:
        download.fetch(f"{nowhere}/net.pth", sha256_prefix=None, cache=tmp_path)
    assert time.monotonic() - start < 3
    assert f"{nowhere}/net.pth" in caught.value.message


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x.org/net.pth", "net.pth", "https://x.org/"])
def test_only_web_addresses_of_files(url, tmp_path):
    with pytest.raises(UsageError):
        download.fetch(url, sha256_prefix=None, cache=tmp_path)


def test_cache_folder_from_the_environment(web, tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "mine"))
    web.files["/net.pth"] = DATA
    assert download.fetch(f"{web.url}/net.pth", sha256_prefix=None).is_relative_to(tmp_path / "mine")


def test_cache_folder_that_cannot_be_written(web, tmp_path):
    web.files["/net.pth"] = DATA
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentError_, match="cache folder") as caught:
        download.fetch(f"{web.url}/net.pth", sha256_prefix=None, cache=tmp_path / "file")
    assert download.CACHE_VARIABLE in caught.value.remedy


def test_given_file(tmp_path):
    (tmp_path / "net.pth").touch()
    assert download.given(tmp_path / "net.pth") == tmp_path / "net.pth"
    with pytest.raises(EnvironmentError_, match="folder"):
        download.given(tmp_path)
    with pytest.raises(EnvironmentError_, match="does not exist"):
        download.given(tmp_path / "other.pth")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="the torch extra is not installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "hub"


FILES = ("model.safetensors", "pytorch_model.bin")


@pytest.mark.parametrize("name", FILES)
def test_hub_file_then_cache(web, nowhere, hub_cache, name):
    web.add_to_hub("timm/net.a1", name, DATA)
    steps = []
    path, address = download.fetch_hub(
        "timm/net.a1", FILES, endpoint=web.url, progress=lambda *step: steps.append(step)
    )
    assert path.read_bytes() == DATA
    assert path.name == name
    assert address == f"{web.url}/timm/net.a1/resolve/0123456789abcdef0123456789abcdef01234567/{name}"
    assert steps[-1] == (name, len(DATA), len(DATA))
    assert web.seen.count(f"GET /timm/net.a1/resolve/main/{name}") == 1
    start = time.monotonic()
    assert download.fetch_hub("timm/net.a1", FILES, endpoint=nowhere)[0] == path
    assert time.monotonic() - start < 3


def test_hub_cache_is_checked(web, hub_cache):
    web.add_to_hub("timm/net.a1", "model.safetensors", DATA)
    path, _ = download.fetch_hub("timm/net.a1", FILES, endpoint=web.url)
    path.resolve().write_bytes(DATA[:-1] + b"x")
    with pytest.raises(EnvironmentError_, match=SHA256) as caught:
        download.fetch_hub("timm/net.a1", FILES, endpoint=web.url)
    assert str(path.resolve()) in caught.value.remedy


def test_hub_out_of_reach(nowhere, hub_cache):
    start = time.monotonic()
    with pytest.raises(EnvironmentError_, match="refused") as caught:
        download.fetch_hub("timm/net.a1", FILES, endpoint=nowhere)
    assert time.monotonic() - start < 3
    assert f"{nowhere}/timm/net.a1" in caught.value.message


def test_hub_offline_asks_nothing(web, hub_cache, monkeypatch):
    web.add_to_hub("timm/net.a1", "model.safetensors", DATA)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentError_, match="HF_HUB_OFFLINE"):
        download.fetch_hub("timm/net.a1", FILES, endpoint=web.url)
    assert web.seen == []


def test_hub_without_the_repository_or_the_file(web, hub_cache):
    web.add_to_hub("timm/net.a1", "README.md", b"#")
    with pytest.raises(EnvironmentError_, match=r"no model\.safetensors or pytorch_model\.bin"):
        download.fetch_hub("timm/net.a1", FILES, endpoint=web.url)
    with pytest.raises(EnvironmentError_, match="no such repository"):
        download.fetch_hub("timm/other", FILES, endpoint=web.url)


def test_hub_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(EnvironmentError_) as caught:
        download.fetch_hub("timm/net.a1", FILES)
    assert "mshub-convert[torch]" in caught.value.remedy
