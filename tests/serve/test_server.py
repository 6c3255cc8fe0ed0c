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
from trueslice.files import Upload
from trueslice.serve.answers import Answers
from trueslice.serve.pictures import Pictures


class Client:
    """Sends requests as the page does, or as it would never do.

    Args:
        url: the address that is printed.
        host: under which the browser knows the server, where that is another: the end of a tunnel.
    """

    def __init__(self, url: str, host: str = ""):
        self._address = urlsplit(url).netloc
        self.host = host or self._address
        self.cookie = ""
        response, _ = self.send("GET", f"/?{urlsplit(url).query}")
        assert (response.status, response.headers["Location"]) == (303, "/")
        self.given = response.headers["Set-Cookie"]
        self.cookie = self.given.partition(";")[0]

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(self._address, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {"Host": self.host, "Origin": f"http://{self.host}", "Cookie": self.cookie}
        connection.request(method, path, body, own | given)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def ask(self, method: str, path: str, body: bytes | None = None, /, **query: str) -> dict:
        response, content = self.send(method, f"{path}?{urlencode(query)}", body)
        if response.status == 200:
            return json.loads(content) | {"status": 200}
        frames = int(response.headers.get("Frames", 1))
        return {"status": response.status, "error": content.decode(), "frames": frames}


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
        answer = answers.predict(answers.read(Upload("scan.jpg", scan.read_bytes())))
        found[folder] = answers.about()["colours"], answer["heat"]
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
        assert b"localhost" in content


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1:9", "[::1]:80"])
def test_the_page_can_be_reached_through_a_tunnel(page_url, host):
    client = Client(page_url, host)
    assert client.send("GET", "/")[0].status == 200
    assert client.send("POST", "/predict?name=x", b"x")[0].status == 422


@pytest.mark.parametrize("origin", ["http://example.org", "null", "http://localhost:1", ""])
def test_what_another_page_posts_is_refused(client, origin):
    assert client.send("POST", "/predict?name=x", b"x", Origin=origin)[0].status == 403


def test_no_other_address_than_the_loopback_one_leads_here(client):
    port = int(client.host.split(":")[1])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        *(("GET /", 200), ("HEAD /", 200), ("GET /page.js", 200), ("GET /model", 200)),
        *(("GET /none", 404), ("PUT /", 405), ("GET /?token=x", 403)),
    ],
)
def test_a_response_may_load_nothing_from_elsewhere_nor_be_framed_or_guessed_at(client, request_line, status):
    response, _ = client.send(*request_line.split())
    policy = response.headers["Content-Security-Policy"]
    assert response.status == status
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in response.headers


@pytest.mark.parametrize("path", ["/", "/page.js", "/model", "/test-scans", "/none", "/?token=x", "/?token="])
@pytest.mark.parametrize("cookie", ["", "trueslice-{port}=x", "trueslice-{port}=\xff", "trueslice-1={token}"])
def test_without_the_token_nothing_is_given_out_but_where_to_find_it(client, path, cookie):
    token, port = client.cookie.partition("=")[2], client.host.partition(":")[2]
    response, content = client.send("GET", path, Cookie=cookie.format(port=port, token=token))
    assert (response.status, response.headers["Content-Type"]) == (403, "text/plain; charset=utf-8")
    assert b"Open the address" in content and "Set-Cookie" not in response.headers


def test_the_token_is_kept_from_scripts_and_other_sites_and_by_the_port(client):
    name, *attributes = client.given.split("; ")
    assert name.startswith(f"trueslice-{client.host.partition(':')[2]}=") and len(name) > 40
    assert {each.lower() for each in attributes} == {"httponly", "path=/", "samesite=strict"}


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/server.py", "/page/page.js", "/data/splits.csv", "//["],
)
def test_no_file_but_those_of_the_page_is_given_out(client, path):
    assert client.send("GET", path)[0].status == 404
    assert client.send("POST", path, b"")[0].status == 405


def test_nothing_is_kept(client, released, scan):
    before = sorted(released.rglob("*"))
    client.ask("POST", "/predict", scan.read_bytes(), name="private name.jpg")
    client.ask("POST", "/predict", b"broken", name="private name.jpg")
    assert sorted(released.rglob("*")) == before
