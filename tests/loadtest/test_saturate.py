import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from loadtest.cli import main
from loadtest.errors import GeneratorError, OptionError
from loadtest.saturate import measure, parse_wrk
from tests.loadtest.conftest import StubServer

WRK = """Running 2s test @ http://127.0.0.1:8123/v2/models/fraud/infer
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   824.31us  301.12us   9.21ms   92.10%
    Req/Sec    19.55k     1.02k   20.88k    80.00%
  Latency Distribution
     50%  781.00us
     75%    0.92ms
     90%    1.10ms
     99%    1.84s 
  38911 requests in 2.00s, 8.13MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 911
Requests/sec:  19455.12
Transfer/sec:      4.06MB
"""  # noqa: W291


def test_wrks_output_is_read() -> None:
    found = parse_wrk(WRK, 16, 2.0)
    assert found.p50_seconds == pytest.approx(781e-6)
    assert found.p99_seconds == pytest.approx(1.84)
    assert found.ok == 38_000
    assert found.errors == 915
    assert found.requests_per_second == pytest.approx(19455.12 * 38_000 / 38_911)


def test_other_output_is_refused() -> None:
    with pytest.raises(GeneratorError, match="something else"):
        parse_wrk("unable to connect", 1, 1.0)


@pytest.mark.parametrize("client", ["own", "wrk"])
def test_both_clients_measure_a_server(
    stub_server: StubServer, tmp_path: Path, client: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if client == "wrk" and shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    body = tmp_path / "body.json"
    body.write_text('{"id": "]] ]=]", "inputs": [{"name": "features", "shape": [1, 4]}]}')
    url = stub_server(workers=4, service_seconds={"small": 0.01})
    code = main(["saturate", "--url", f"{url}/v2/models/fraud/versions/small/infer", "--body",
                 str(body), "--connections", "1", "4", "--duration", "1", "--client", client,
                 "--json"])  # fmt: skip
    assert code == 0
    one, four = json.loads(capsys.readouterr().out)
    assert (one["client"], one["connections"], four["connections"]) == (client, 1, 4)
    assert one["ok"] > 5
    assert one["errors"] == four["errors"] == 0
    assert one["p50_seconds"] > 0.008  # the stub sleeps 10 ms, give or take its clock's tick
    assert four["requests_per_second"] > one["requests_per_second"]


WRAPPED = """#!{python}
import os
open({seen!r}, "w").write(str(sorted(os.sched_getaffinity(0))))
print({answer!r})
"""


def test_wrk_stays_on_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, core = tmp_path / "seen", max(os.sched_getaffinity(0))
    wrk = tmp_path / "wrk"
    wrk.write_text(WRAPPED.format(python=sys.executable, seen=str(seen), answer=WRK))
    wrk.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (found,) = measure("http://127.0.0.1:9/", wrk, [16], 2.0, cores=(core,))
    assert found.ok == 38_000
    assert seen.read_text() == f"[{core}]"


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--body"):
        measure("http://127.0.0.1:9/x", tmp_path / "none", [1], 1.0)
    with pytest.raises(OptionError, match="positive"):
        measure("http://127.0.0.1:9/x", tmp_path, [0], 1.0)
