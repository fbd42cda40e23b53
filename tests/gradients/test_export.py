"""What a trace leaves behind: JSON, CSV, drawings, the summary on the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from throughtime.errors import TraceError
from throughtime.gradients import Monitor, advise, measure, trace
from throughtime.gradients.export import write
from throughtime.gradients.plain import plain
from throughtime.report.gradients.draw import Scale, span
from throughtime.report.gradients.figures import factor, number, percent
from throughtime.report.gradients.panels import PANELS, forms
from throughtime.report.gradients.terminal import sparkline

T, B, H = 15, 5, 6
LENGTHS = [15, 9, 1, 12, 15]
MAKE = {
    "RNN": lambda: nn.RNN(3, H, dtype=torch.float64),
    "GRU": lambda: nn.GRU(3, H, 2, bidirectional=True, dtype=torch.float64),
    "LSTM": lambda: nn.LSTM(3, H, proj_size=4, dtype=torch.float64),
}


@pytest.fixture(params=MAKE)
def found(request):
    torch.manual_seed(4)
    x = torch.randn(T, B, 3, dtype=torch.float64)

    def loss(model, x):
        packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
        return model(packed)[0].data.sin().sum()

    return trace(MAKE[request.param](), x, loss)


def nan(value):
    return np.array([math.nan if v is None else float(v) for v in value])


def test_json_holds_every_measure(found, tmp_path):
    text = found.to_json(tmp_path / "t.json", costly=True)
    assert (tmp_path / "t.json").read_text(encoding="utf-8") == text
    held = json.loads(text, parse_constant=lambda sign: pytest.fail(f"{sign} is not JSON"))
    assert held["loss"] == found.loss and held["check"] == dict(found.check)
    assert list(held["records"]) == list(found.records)
    for key, record in found.records.items():
        m = held["records"][key]
        signal, split = measure.signal(record), measure.split(record)
        for name in ("total", "total_low", "total_high", "total_zero", "injected"):
            np.testing.assert_array_equal(nan(m["signal"][name]), getattr(signal, name))
        for name in ("total", "slope", "weights"):
            np.testing.assert_array_equal(nan(m["split"][name]), getattr(split, name))
        np.testing.assert_array_equal(nan(m["budget"]["share"]), measure.budget(record).share)
        np.testing.assert_array_equal(nan(m["transport"]["rho"]), measure.transport(record).rho)
        np.testing.assert_array_equal(
            nan(m["lyapunov"]["exponents"]), measure.lyapunov(record).exponents
        )
        np.testing.assert_array_equal(
            np.stack([nan(row) for row in m["lag_map"]["norm"]]), measure.lag_map(record).norm
        )
        assert m["census"]["label"] == list(measure.census(record).label)
        rms = record.state.square().mean(-1)
        for t in range(T):
            alive = [b for b in range(B) if t < LENGTHS[b]]
            expected = rms[t, alive].mean().sqrt().item()
            assert m["state"][t] == pytest.approx(expected, rel=1e-12)
        assert m["left_out"] == []


def test_a_rare_class_has_a_row_in_the_barcode():
    layer = nn.RNN(3, 200, nonlinearity="relu")
    layer.get_parameter("bias_ih_l0").data[:] = 5
    layer.get_parameter("bias_ih_l0").data[3] = -50
    found = trace(layer, torch.randn(T, B, 3), lambda m, x: m(x)[0].sum())
    held = found.measured(compare=())["l0"]
    assert set(held["barcode"]["classes"]) == set(held["census"]["label"])
    assert 3 in held["barcode"]["units"] and 64 <= len(held["barcode"]["units"]) <= 67


def test_every_step_of_a_unit_lies_in_a_bin_of_its_density():
    """What lies beyond the quantiles is in the outermost bins."""
    layer = nn.RNN(2, 8)
    found = trace(layer, torch.randn(60, 4, 2), lambda m, x: m(x)[0].square().mean())
    density = np.array(found.measured()["l0"]["barcode"]["density"])
    np.testing.assert_allclose(density.sum(1), 1, atol=60 * 5e-5)


def test_barcode_is_the_share_of_sequences_in_which_a_unit_is_on():
    torch.manual_seed(0)
    layer = nn.RNN(3, H, nonlinearity="relu")
    layer.bias_ih_l0.data[2] = -50
    found = trace(layer, torch.randn(T, B, 3), lambda m, x: m(x)[0].sum())
    held = found.measured()["l0"]["barcode"]
    on = (found.records["l0"].slope > 0).double().mean(1)
    assert held["units"][0] == 2 and held["classes"][0] == "never_on"
    np.testing.assert_allclose(np.array(held["on"]), on.T[held["units"]], atol=5e-4)
    np.testing.assert_allclose(held["share"], on.mean(1))


def test_what_is_costly_is_left_out_unless_asked_for(found):
    for m in found.measured().values():
        assert m["left_out"] == ["lag_map", "lyapunov"]
        assert m["lag_map"] is None and m["lyapunov"] is None and m["one_step"] is not None


def test_forecasts_are_of_the_activations_asked_for(found):
    m = next(iter(found.measured(compare=["softsign"]).values()))
    assert list(m["counterfactual"]) == ["softsign"]
    record = next(iter(found.records.values()))
    expected = measure.signal(measure.counterfactual(record, "softsign")).total
    np.testing.assert_array_equal(nan(m["counterfactual"]["softsign"]["total"]), expected)
    assert next(iter(found.measured(compare=()).values()))["counterfactual"] == {}


def test_csv_has_a_row_a_layer_and_step(found, tmp_path):
    text = found.to_csv(tmp_path / "t.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text(encoding="utf-8"))))
    assert text.count("\n") == 1 + len(rows)
    assert [(r["layer"], int(r["step"])) for r in rows] == [
        (key, t) for key in found.records for t in range(T)
    ]
    for key, record in found.records.items():
        own = [r for r in rows if r["layer"] == key]
        for column, expected in (
            ("gradient", measure.signal(record).total),
            ("injected", measure.signal(record).injected),
            ("gain_activation", measure.split(record).slope),
            ("gain_weights", measure.split(record).weights),
            ("budget", measure.budget(record).share),
        ):
            values = np.array([float(r[column]) if r[column] else math.nan for r in own])
            np.testing.assert_array_equal(values, expected, err_msg=column)
        carry = measure.split(record).paths.get("carry")
        if carry is not None:
            given = [float(r["path_carry"]) if r["path_carry"] else math.nan for r in own]
            np.testing.assert_array_equal(given, carry)


def test_findings_are_those_of_advise_and_found_once(found):
    assert found.findings(lag=12) == advise(found.records, lag=12)
    assert found.findings(lag=12) is found.findings(lag=12)
    with pytest.raises(TraceError, match="lag = 0"):
        found.findings(lag=0)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("chart", [*PANELS, "usage_h", "usage_f", "usage_c"])
def test_every_chart_is_sound_svg(found, chart, language, tmp_path):
    records = found.measured(costly=True)
    layer = list(records)[-1]
    plot = chart in dict(forms(records[layer])) and dict(forms(records[layer]))[chart].draw(
        records[layer], language
    )
    path = tmp_path / "chart.svg"
    if not plot:
        with pytest.raises(TraceError):
            found.save_chart(path, chart, layer, costly=True)
        return
    found.save_chart(path, chart, layer, language=language, costly=True)
    text = path.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert "var(" not in text and "nan" not in text and "inf" not in text.replace("infty", "")
    words = "".join(root.itertext())
    assert any("\u4e00" <= c <= "\u9fff" for c in words) == (language == "zh")


def test_png(found, tmp_path):
    path = found.save_chart(tmp_path / "signal.png")
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1800, 440)


BAD = {
    "kind of picture": (lambda t, d: t.save_chart(d / "x.jpg"), "x.jpg: a drawing is saved"),
    "chart": (lambda t, d: t.save_chart(d / "x.svg", "signall"), "no chart 'signall'.*signal, "),
    "layer": (lambda t, d: t.save_chart(d / "x.svg", layer="l9"), "no layer 'l9'.*l0"),
    "left out": (lambda t, d: t.save_chart(d / "x.svg", "lyapunov"), "costly=True"),
    "folder of a page": (lambda t, d: t.to_html(d / "no" / "x.html"), "there is no folder"),
    "folder of JSON": (lambda t, d: t.to_json(d / "no" / "x.json"), "there is no folder"),
    "folder of CSV": (lambda t, d: t.to_csv(d / "no" / "x.csv"), "there is no folder"),
    "folder of a chart": (lambda t, d: t.save_chart(d / "no" / "x.svg"), "there is no folder"),
}


@pytest.mark.parametrize("call", BAD)
def test_bad_input_is_said(call, tmp_path):
    found = trace(nn.RNN(3, H), torch.randn(T, B, 3), lambda m, x: m(x)[0].sum())
    do, message = BAD[call]
    with pytest.raises(TraceError, match=message):
        do(found, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_monitor_that_saw_nothing_has_no_page(tmp_path):
    with pytest.raises(TraceError, match="has seen no step"):
        Monitor(nn.RNN(3, H)).to_html(tmp_path / "x.html")


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_summary_fits_the_terminal(found, language):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(found.summary(language, lag=14))
    lines = console.export_text().splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    for key in found.records:
        assert key in text
    for finding in found.findings(14):
        assert finding.place in text
    assert any(c in text for c in "▁▂▃▄▅▆▇█")
    assert any("\u4e00" <= c <= "\u9fff" for c in text) == (language == "zh")


def test_summary_says_when_nothing_is_wrong():
    layer = nn.RNN(3, H)
    nn.init.orthogonal_(layer.weight_hh_l0)
    found = trace(layer, torch.randn(4, B, 3), lambda m, x: m(x)[0].sum())
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(found.summary("en"))
    assert console.export_text().startswith("No finding")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_summary_tells_one_fault_once_with_all_its_places(language):
    torch.manual_seed(5)
    layer = nn.RNN(3, H, 3, nonlinearity="relu")
    found = trace(layer, torch.randn(60, B, 3), lambda m, x: m(x)[0][-1].square().sum())
    findings = [f for f in found.findings(50) if f.cause == "vanishes"]
    worst = min(findings, key=lambda f: f.number)
    assert len(findings) == 3
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(found.summary(language, lag=50))
    text = console.export_text()
    assert text.count("! ") == len({f.cause for f in found.findings(50)})
    assert worst.sentence(language) in text
    for finding in findings:
        assert finding.place in text and number(finding.number) in text
        assert number(finding.reference) in text and finding.suggestion(language) in text


def test_sparkline():
    assert sparkline(np.array([0.0, 1.0])) == "▁█"
    assert (
        sparkline(np.array([1.0, 10.0, 100.0]), log=True) == "▁▅█"
        or sparkline(np.array([1.0, 10.0, 100.0]), log=True) == "▁▄█"
    )
    assert sparkline(np.array([math.nan, 2.0, 2.0])) == " ▁▁"
    assert sparkline(np.ones(2), ends=(0, 1)) == "██"
    assert sparkline(np.zeros(3), log=True) == "   "
    assert len(sparkline(np.arange(1000.0))) == 32


def test_plain_is_strict_json():
    value = plain({"a": np.array([1.0, np.nan, np.inf, -np.inf]), "b": (np.int64(3), True, None)})
    assert value == {"a": [1.0, None, "Infinity", "-Infinity"], "b": [3, True, None]}
    assert float(value["a"][2]) == math.inf


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1"), (0.123456, "0.123"), (-2.5, "−2.5"), (1e-9, "1·10⁻⁹"),
     (1234567.0, "1.23·10⁶"), (1234.5, "1234"), (math.nan, "–"), (None, "–"),
     ("Infinity", "∞"), ("-Infinity", "−∞"), (-3.2e-12, "−3.2·10⁻¹²"), (999999, "999999")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def test_shares_and_factors():
    assert percent(0.5) == "50%" and percent(0) == "0%" and percent(1e-5) == "<1%"
    assert percent(None) == "–" and percent(0.12345, 1) == "12.3%"
    assert factor(0.0) == "1" and factor(None) == "–" and factor(1000.0) == "∞"


def test_scales():
    linear, log = Scale(0, 10, 0, 100), Scale(1e-4, 1, 100, 0, log=True)
    np.testing.assert_allclose(linear(np.array([0, 5, 10, 20, np.nan])), [0, 50, 100, 100, np.nan])
    np.testing.assert_allclose(log(np.array([1e-4, 1e-2, 1, 0])), [100, 50, 0, np.nan])
    assert linear.ticks(5) == [0, 2, 4, 6, 8, 10]
    assert log.ticks(5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert span([np.array([np.nan])]) == (0, 1) and span([np.zeros(3)], log=True) == (0.1, 1)
    low, high = span([np.array([5e-320, 1.0])], log=True)
    assert 0 < low < 1 <= high
    low, high = span([np.array([3.0, 3.0])])
    assert low < 3 < high


def test_the_core_does_not_import_the_report():
    code = (
        "import sys, throughtime.gradients as g; "
        "assert not any(m.startswith('throughtime.report') for m in sys.modules); "
        "assert 'altair' not in sys.modules and 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
