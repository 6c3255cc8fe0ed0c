"""What the server of the page answers, and what it refuses: over real connections, with a real model."""

import base64
import io
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image

from tests import nifti_files
from tests.dicom_files import SECRETS, write
from trueslice import Classifier
from trueslice.serve.answers import Answers
from trueslice.serve.pictures import Pictures
from trueslice.serve.server import LIMIT


class Client:
    """Sends requests as the page does, or as it would never do."""

    def __init__(self, url: str):
        self.host = urlsplit(url).netloc

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(self.host, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Origin": f"http://{self.host}"} | given)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def ask(self, method: str, path: str, body: bytes | None = None, /, **query: str) -> dict:
        response, content = self.send(method, f"{path}?{urlencode(query)}", body)
        return json.loads(content) | {"status": response.status}


@pytest.fixture(scope="module")
def client(page_url) -> Client:
    return Client(page_url)


@pytest.fixture(scope="module")
def scan(released) -> Path:
    return sorted((released / "data/raw/Testing").rglob("*.jpg"))[0]


@pytest.fixture(scope="module")
def classifier(released) -> Classifier:
    return Classifier.load(released / "models/released", "cpu")


def without_pictures(answer: dict) -> dict:
    """An answer of the server as `expected` has it."""
    own = {"path", "status", "truth", "picture", "heat"}
    plain = {name: value for name, value in answer.items() if name not in own}
    for known in (plain["copy"], *plain["nearest"]):
        if known:
            del known["picture"]
    return plain


def expected(prediction) -> dict:
    return {name: value for name, value in prediction.to_dict().items() if name != "path"}


def same(one, other) -> bool:
    """Whether two answers are: PyTorch rounds a little differently once a process has trained, as this one has."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == pytest.approx(other, rel=1e-4) if isinstance(one, float) else one == other


def tiff(*frames: np.ndarray) -> bytes:
    file = io.BytesIO()
    first, *others = map(Image.fromarray, frames)
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def test_the_answer_is_that_of_the_classifier(client, classifier, scan):
    answer = client.ask("POST", "/predict", scan.read_bytes(), name=scan.name)
    assert answer["path"] == scan.name and answer["picture"].startswith("data:image/png;base64,")
    assert same(without_pictures(answer), expected(classifier.predict([scan])[0]))


def test_a_map_comes_with_the_answer_only_where_the_model_says_that_it_is_worth_it(released, explaining, scan):
    found = {}
    for folder in (released / "models/released", explaining):
        classifier = Classifier.load(folder, "cpu")
        answers = Answers(classifier, Pictures(classifier.reference, released / "data/scans"))
        found[folder] = answers.about()["colours"], answers.predict(scan.read_bytes(), "scan.jpg", None)["heat"]
    assert found[released / "models/released"] == ([], None)
    colours, heat = found[explaining]
    opacity = np.asarray(Image.open(io.BytesIO(base64.b64decode(heat.partition(",")[2]))))[..., 3]
    expected_map = classifier.explain(classifier.predict([scan])[0])
    assert opacity.max() - opacity.flat[expected_map.argmax()] <= 1
    assert np.corrcoef(opacity.ravel(), expected_map.ravel())[0, 1] > 0.99
    assert len(colours) > 2


def test_requests_at_once_get_the_answers_that_each_gets_alone(client, released):
    scans = [path.read_bytes() for path in sorted((released / "data/raw/Testing").rglob("*.jpg"))[:6]]
    alone = [client.ask("POST", "/predict", each, name="scan.jpg") for each in scans]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda each: client.ask("POST", "/predict", each, name="scan.jpg"), scans)) == alone


def test_a_test_scan_comes_with_its_true_class_and_without_a_warning_of_itself(client, released, classifier):
    for shown in client.ask("GET", "/test-scans")["scans"][:4]:
        answer = client.ask("POST", "/test-scan", path=shown["path"])
        alone = classifier.predict([released / "data/raw" / shown["path"]])[0]
        assert answer["truth"] == Path(shown["path"]).parent.name
        assert same(answer["probabilities"], alone.probabilities)
        assert alone.copy.path == shown["path"] and answer["copy"] is None
        assert "copy" not in [warning["kind"] for warning in answer["warnings"]]


def test_test_scans_of_a_class_are_of_that_class_and_all_test_scans(client, classifier):
    known = classifier.reference.scans
    test = {
        path: name
        for path, name, split in zip(known.path, known.class_name, known.split, strict=True)
        if split == "test"
    }
    for name in classifier.class_names:
        paths = [shown["path"] for shown in client.ask("GET", "/test-scans", **{"class": name})["scans"]]
        assert paths and {test[path] for path in paths} == {name}
    mixed = [test[shown["path"]] for shown in client.ask("GET", "/test-scans")["scans"]]
    assert {mixed.count(name) for name in classifier.class_names} == {4}


@pytest.mark.parametrize("path", ["x.png", "../../params.yaml", "/etc/passwd", "Training/glioma/Tr-gl_0000.jpg"])
def test_what_is_no_test_scan_is_refused(client, path):
    answer = client.ask("POST", "/test-scan", path=path)
    assert answer["status"] == 404 and path in answer["error"]


def test_an_unreadable_file_is_named_with_the_reason_that_predict_gives(client, classifier, tmp_path):
    (tmp_path / "notes.txt").write_text("no scan")
    (reason,) = classifier.stream([tmp_path / "notes.txt"])
    answer = client.ask("POST", "/predict", b"no scan", name="notes.txt")
    assert answer == {"status": 422, "error": f"notes.txt: {reason.reason}", "frames": 1}
    assert client.ask("POST", "/predict", b"", name="a.png")["error"] == "a.png: the file is empty"


def test_a_file_of_several_frames_is_answered_for_the_frame_that_is_chosen(client, classifier):
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 50), np.uint8)
    refused = client.ask("POST", "/predict", tiff(*frames), name="volume.tif")
    assert (refused["status"], refused["frames"]) == (422, 3)
    answer = client.ask("POST", "/predict", tiff(*frames), name="volume.tif", frame="2")
    assert answer["path"] == "volume.tif, frame 2"
    assert same(without_pictures(answer), expected(classifier.predict([frames[1]])[0]))
    assert client.ask("POST", "/predict", tiff(*frames), name="volume.tif", frame="4")["status"] == 422
    for frame in ("0", "-1", "all", "²", "1" * 4301):
        assert client.ask("POST", "/predict", tiff(*frames), name="volume.tif", frame=frame)["status"] == 400


def test_a_dicom_file_is_read_in_memory_and_nothing_of_the_patient_comes_back(client, classifier, tmp_path):
    write(tmp_path / "scan.dcm", np.random.default_rng(0).integers(0, 4096, (60, 50), np.uint16))
    # Neither ending nor path tells what it is.
    answer = client.ask("POST", "/predict", (tmp_path / "scan.dcm").read_bytes(), name="0001")
    assert same(without_pictures(answer), expected(classifier.predict([tmp_path / "scan.dcm"])[0]))
    assert not [secret for secret in SECRETS if secret in json.dumps(answer)]


def test_a_nifti_file_is_answered_for_the_slice_that_is_chosen(client, classifier, tmp_path):
    volume = np.random.default_rng(0).integers(0, 4096, (60, 50, 3), np.int16)
    file = nifti_files.write(tmp_path / "head.nii.gz", volume, np.diag([1, 1, 5, 1]))
    refused = client.ask("POST", "/predict", file.read_bytes(), name="head.nii.gz")
    assert (refused["status"], refused["frames"]) == (422, 3)
    answer = client.ask("POST", "/predict", file.read_bytes(), name="head.nii.gz", frame="2")
    (frame,) = classifier.stream([file], 2)
    assert answer["path"] == "head.nii.gz, frame 2"
    assert same(without_pictures(answer), expected(frame))
    assert not [secret for secret in nifti_files.SECRETS if secret in json.dumps([answer, refused])]


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "", "[", "10.0.0.1:8000"])
def test_a_foreign_name_that_leads_here_is_refused(client, host):
    for method in ("GET", "POST"):
        response, content = client.send(method, "/model", b"", Host=host, Origin=f"http://{host}")
        assert response.status == 421
        assert "localhost" in json.loads(content)["error"]


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1:9", "[::1]:80"])
def test_the_page_can_be_reached_through_a_tunnel(client, host):
    assert client.send("GET", "/", Host=host)[0].status == 200
    assert client.send("POST", "/predict?name=x", b"x", Host=host, Origin=f"http://{host}")[0].status == 422


@pytest.mark.parametrize("origin", ["http://example.org", "null", "http://localhost:1", ""])
def test_what_another_page_posts_is_refused(client, origin):
    assert client.send("POST", "/predict?name=x", b"x", Origin=origin)[0].status == 403


def test_no_other_address_than_the_loopback_one_leads_here(client):
    port = int(client.host.split(":")[1])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass


def test_a_page_may_load_nothing_from_elsewhere_nor_be_framed(client):
    response, _ = client.send("GET", "/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Server"] == "trueslice"


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/server.py", "/page.html", "/data/splits.csv", "//["],
)
def test_no_file_but_those_of_the_page_is_given_out(client, path):
    assert client.send("GET", path)[0].status == 404
    assert client.send("POST", path, b"")[0].status == 404


@pytest.mark.parametrize("length", [str(2 * 2**30), "1" * 4301])
def test_a_file_that_is_too_large_is_refused_before_it_is_read(client, length):
    with socket.create_connection(client.host.split(":"), timeout=5) as connection:
        lines = ["POST /predict?name=x HTTP/1.1", f"Host: {client.host}", f"Origin: http://{client.host}"]
        connection.sendall("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode())
        answer = b""
        while part := connection.recv(2**16):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ") and f"{LIMIT // 2**20} MB".encode() in answer


@pytest.mark.parametrize("length", [None, "-1", "many", "1.5"])
def test_a_body_of_unknown_length_is_refused(client, length):
    connection = HTTPConnection(client.host, timeout=20)
    connection.putrequest("POST", "/predict?name=x")
    connection.putheader("Origin", f"http://{client.host}")
    if length:
        connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_nothing_is_kept(client, released, scan):
    before = sorted(released.rglob("*"))
    client.ask("POST", "/predict", scan.read_bytes(), name="private name.jpg")
    client.ask("POST", "/predict", b"broken", name="private name.jpg")
    assert sorted(released.rglob("*")) == before
