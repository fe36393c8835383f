"""The address of a report, as a worker knows it from its settings; what is no web address is not put on any page."""

from __future__ import annotations

import pytest

from tasks.pages.address import files_url, report_url


@pytest.mark.parametrize(
    ("value", "base"),
    [
        ("http://localhost:8600", "http://localhost:8600"),
        ("http://localhost:8600/", "http://localhost:8600"),
        (" https://reports.example/triptych// ", "https://reports.example/triptych"),
        ("http://[::1]:8600", "http://[::1]:8600"),
    ],
)
def test_the_address_of_a_snapshot_needs_only_its_id(value: str, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_REPORTS_URL", value)
    assert report_url("toy-1") == f"{base}/reports/toy-1/"
    assert files_url("toy-1") == f"{base}/snapshots/toy-1/"


@pytest.mark.parametrize("value", [None, "", " "])
def test_without_a_server_there_is_none(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_REPORTS_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("TRIPTYCH_REPORTS_URL", value)
    assert report_url("toy-1") is None


@pytest.mark.parametrize(
    "value",
    [
        "localhost:8600",
        "file:///data",
        "javascript:alert(1)",
        "http://",
        "http://me:secret@localhost:8600",
        "http://localhost:8600/?a=b",
        "http://localhost:8600/#a",
        "http://localhost:8600/a)[x](y",
        "http://localhost:8600/<b>",
        "http://localhost\n:8600",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_told_and_left_out(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIPTYCH_REPORTS_URL", value)
    assert report_url("toy-1") is None
    assert "TRIPTYCH_REPORTS_URL is not used" in caplog.text
    assert "secret" not in caplog.text
