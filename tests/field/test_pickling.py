"""A codec that is sent to another process, or copied: it arrives as bundle and options, and codes the same."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.backends.shared import SharedBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BackendError, BundleError, ModelMismatchError

AUDIO = (0.1 * np.sin(np.arange(4000) / 20)).astype(np.float32)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A bundle that is not the embedded one, though it holds the same."""
    return shutil.copytree(Bundle.embedded().path, tmp_path / "bundle")


def test_it_is_sent_to_a_spawned_worker(codec: Codec) -> None:
    expected = codec.encode(AUDIO)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(codec.encode, AUDIO).result(60)
    assert found.header == expected.header
    np.testing.assert_array_equal(found.codes, expected.codes)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_its_options_travel(backend: str, protocol: int, elsewhere: Path) -> None:
    with apcodec_deploy.load(elsewhere, backend, device="cpu", precision="fp32", threads=3) as sent:
        arrived = pickle.loads(pickle.dumps(sent, protocol))
    assert arrived is not sent and arrived.bundle == sent.bundle
    assert (arrived.backend.name, arrived.backend.precision) == (backend, "float32")
    assert arrived._options == sent._options
    assert arrived.backend._threads == 3
    arrived.close()


def test_copies_have_a_backend_of_their_own(codec: Codec) -> None:
    expected = codec.encode(AUDIO).codes
    for copied in (copy.copy(codec), copy.deepcopy({"codec": codec})["codec"]):
        assert copied.backend is not codec.backend
        np.testing.assert_array_equal(copied.encode(AUDIO).codes, expected)
        copied.close()


def test_a_closed_codec_travels_as_it_works_on(elsewhere: Path) -> None:
    codec = apcodec_deploy.load(elsewhere)
    codec.close()
    arrived = pickle.loads(pickle.dumps(codec))
    np.testing.assert_array_equal(arrived.encode(AUDIO).codes, codec.encode(AUDIO).codes)
    arrived.close()
    codec.close()


def test_paths_are_right_in_another_folder(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere.parent)
    with apcodec_deploy.load(elsewhere.name) as codec:
        sent = pickle.dumps(codec)
    monkeypatch.chdir(os.sep)
    with pickle.loads(sent) as arrived:
        assert arrived.encode(AUDIO).codes.any()


def test_the_embedded_model_is_the_receivers_own(codec: Codec) -> None:
    assert os.fsencode(codec.bundle.path) not in pickle.dumps(codec)


def test_what_arrives_is_the_model_that_was_sent(codec: Codec, elsewhere: Path) -> None:
    with apcodec_deploy.load(elsewhere) as sent:
        data = pickle.dumps(sent)
    manifest = elsewhere / "model.json"
    manifest.write_text(manifest.read_text().replace(codec.fingerprint, "0" * 64))
    with pytest.raises(ModelMismatchError, match="0000000000000000; every process needs the same bundle"):
        pickle.loads(data)
    shutil.rmtree(elsewhere)
    with pytest.raises(BundleError, match="is not a bundle"):
        pickle.loads(data)


def test_a_codec_made_of_a_backend_says_why_it_stays(codec: Codec) -> None:
    shared = SharedBackend([codec.backend])
    with pytest.raises(BackendError, match=r"stays in its process; call load"):
        pickle.dumps(Codec(codec.bundle, shared))


def test_codes_travel_too(codec: Codec) -> None:
    encoded = codec.encode(AUDIO)
    arrived = pickle.loads(pickle.dumps(encoded))
    assert arrived.header == encoded.header and arrived.gaps == encoded.gaps
    np.testing.assert_array_equal(codec.decode(arrived), codec.decode(encoded))
