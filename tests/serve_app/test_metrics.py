from __future__ import annotations

from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from serve_app.metrics import SECONDS_BUCKETS, SLO_SECONDS, GatewayMetrics, Metrics, render


def test_replicas_are_merged_with_a_label_each() -> None:
    gateways = [GatewayMetrics("fraud", ("a", "b"), f"gateway-{n}") for n in (1, 2)]
    model = Metrics("fraud", ("b",), "b-1")
    model.batches("b").batch(3, 0.001)
    for count, gateway in enumerate(gateways, start=1):
        gateway.variant["a"].outcomes["ok"].inc(count)
    text = render([*(gateway.families() for gateway in gateways), model.families()]).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        sample.labels["replica"]: sample.value
        for sample in families["slimserve_requests"].samples
        if sample.labels["variant"] == "a" and sample.labels["outcome"] == "ok"
    }
    assert counted == {"gateway-1": 1.0, "gateway-2": 2.0}
    assert text.count("# HELP slimserve_requests_total") == 1
    assert 'slimserve_batch_rows_sum{model="fraud",replica="b-1",variant="b"} 3.0' in text


def test_names_and_labels_are_from_closed_sets() -> None:
    text = render([GatewayMetrics("fraud", ("a",), "gateway-1").families()]).decode()
    labels = {"model", "variant", "outcome", "reason", "phase", "why", "replica", "le", "version"}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("slimserve_")
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) <= labels
            assert not sample.name.endswith("_created")


def test_buckets_have_edges_at_the_slo_and_around_it() -> None:
    assert SECONDS_BUCKETS[0] == 100e-6
    assert {SLO_SECONDS / 2, SLO_SECONDS, SLO_SECONDS * 2} <= set(SECONDS_BUCKETS)
    assert all(low < high for low, high in pairwise(SECONDS_BUCKETS))
