"""Where the API and the pages are found: three hosts, so that no cookie meets the API."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from functions import demo
from shared.settings import SettingError, load
from tests.support import cloud_tasks
from tests.support.addresses import ADDRESSES

GOOGLE = {
    "ALLY_BACKEND": "google",
    "GOOGLE_CLOUD_PROJECT": "p",
    **ADDRESSES,
    **cloud_tasks.settings("https://worker.example", ""),
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ALLY_DASHBOARD_URL", ""),
        ("ALLY_DASHBOARD_URL", "http://dashboard.ally.example"),
        ("ALLY_DASHBOARD_URL", "https://dashboard.ally.example/"),
        ("ALLY_DASHBOARD_URL", ADDRESSES["ALLY_URL"]),
        ("ALLY_DASHBOARD_URL", ADDRESSES["ALLY_OPERATIONS_URL"]),
        ("ALLY_DASHBOARD_URL", ADDRESSES["ALLY_URL"].replace("api", "API")),
        ("ALLY_DASHBOARD_URL", f"{ADDRESSES['ALLY_URL']}:443"),
        ("ALLY_OPERATIONS_URL", ""),
        ("ALLY_OPERATIONS_URL", ADDRESSES["ALLY_URL"]),
        ("ALLY_IAP_AUDIENCE", ""),
        ("ALLY_IAP_AUDIENCE", "ally-operations"),
    ],
)
def test_the_google_backend_does_not_start_unless_pages_have_hosts_of_their_own(
    name: str, wrong: str
) -> None:
    load(GOOGLE)
    with pytest.raises(SettingError, match=name):
        load({**GOOGLE, name: wrong})


def test_the_local_backend_shows_pages_beside_the_api_on_its_port() -> None:
    settings = load({}, backend="local", url="https://localhost:9443")
    assert settings.dashboard_url == "https://dashboard.localhost:9443"
    assert settings.operations_url == "https://operations.localhost:9443"
    assert settings.mailbox_url == "https://mailbox.localhost:9443"


def test_only_the_local_backend_shows_mail() -> None:
    assert load(GOOGLE).mailbox_url == ""


def names(chain: Path) -> set[str]:
    made = x509.load_pem_x509_certificate(chain.read_bytes())
    held = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(held.get_values_for_type(x509.DNSName))


def test_the_certificate_of_this_machine_names_all_pages(tmp_path: Path) -> None:
    settings = load({}, backend="local", url="https://localhost")
    urls = (
        settings.url,
        settings.dashboard_url,
        settings.operations_url,
        settings.mailbox_url,
    )
    made = demo.certificate(tmp_path)
    assert names(made.chain) == {url.removeprefix("https://") for url in urls}


def test_a_certificate_is_kept_from_start_to_start(tmp_path: Path) -> None:
    before = demo.certificate(tmp_path).chain.read_bytes()
    assert demo.certificate(tmp_path).chain.read_bytes() == before


def test_a_certificate_of_a_version_without_pages_is_made_anew(tmp_path: Path) -> None:
    files = demo.certificate(tmp_path)
    authority = trustme.CA()
    older = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(files.authority))
    older.cert_chain_pems[0].write_to_path(str(files.chain))
    older.private_key_pem.write_to_path(str(files.key))
    made = demo.certificate(tmp_path)
    assert "dashboard.localhost" in names(made.chain)
    ssl.create_default_context(cafile=made.authority).load_cert_chain(made.chain, made.key)


def test_a_certificate_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    demo.certificate(tmp_path).chain.write_text("-----BEGIN CERT")
    assert "localhost" in names(demo.certificate(tmp_path).chain)
