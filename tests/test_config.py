"""Configuration: from file, environment and command line; every fault named by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coordinator.agreement import market_rules
from coordinator.config import Config, ConfigError, describe, load, parse

FEES = {"community_fee_micro_per_kwh": 10_000, "community_fee_share_ppm": 20_000}
LINES = [{"source": "a", "target": "b", "fee_micro_per_kwh": 5_000}, {"source": "b", "target": "c", "limit_w": 7}]

FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"market": {"interval_s": 61}}, "market.interval_s: expected one of 60, 300, 900, 1800, 3600, was 61"),
    ({"market": {"gate_s": "soon"}}, "market.gate_s: should be a valid integer"),
    ({"market": {"gate_s": True}}, "market.gate_s: should be a valid integer"),
    ({"market": {"gate_s": 1.0}}, "market.gate_s: should be a valid integer"),
    ({"market": {"gate_s": 0}}, "market.gate_s: should be greater than or equal to 1, was 0"),
    ({"market": {"horizon_s": 60}}, "market.horizon_s: expected at least gate_s + interval_s = 1200"),
    ({"market": {"reading_deadline_s": 81_000}}, "market.reading_deadline_s: expected less than 90 intervals = 81000"),
    ({"market": {"feed_in_micro_per_kwh": 400_000}}, "expected price_min <= feed_in <= supplier <= price_max"),
    ({"market": {"members_max": 801}}, "market.members_max: expected at most market.orders_per_interval_max = 800"),
    (
        {"chain": {"rpc_url": "http://node.example"}, "market": {"orders_per_interval_max": 801}},
        "market.orders_per_interval_max: expected at most 800 with chain.rpc_url",
    ),
    ({"market": {"price_rule": "reference"}}, "market.reference_price_micro_per_kwh: the rule 'reference' needs one"),
    ({"market": {"price_rule": "best"}}, "market.price_rule: should be 'midpoint' or 'reference'"),
    ({"market": {"id": "Elm Street"}}, "market.id: should match pattern"),
    ({"market": {"invite": "short"}}, "market.invite: should have at least 8 characters"),
    ({"market": {"colour": "green"}}, "market.colour: is not a known key"),
    ({"markt": {}}, "markt: is not a known key"),
    ({"market": 5}, "market: should be an object"),
    ({"http": {"port": 70_000}}, "http.port: should be less than or equal to 65535"),
    ({"chain": {"rpc_url": "localhost"}}, "chain.rpc_url: should match pattern"),
    (
        {"chain": {"currency_token": "0x" + "11" * 20}, "market": {"welcome_credit_micro": 1}},
        "market.welcome_credit_micro: expected 0",
    ),
    ({"chain": {"network": "Main Net"}}, "chain.network: should match pattern"),
    ({"contracts": {"admin": "0x12"}}, "contracts.admin: should match pattern"),
    ({"contracts": {"exit_delay_s": 604_801}}, "contracts.exit_delay_s: should be less than or equal to 604800"),
    (
        {"contracts": {"under_use_price_min_micro_per_kwh": 1_000_001}},
        "contracts.under_use_price_min_micro_per_kwh: expected a price in the band from 0 to 1000000, was 1000001",
    ),
    (
        {"contracts": {"shortfall_price_max_micro_per_kwh": 319_999}},
        "contracts.shortfall_price_max_micro_per_kwh: with market.compensation expected at least",
    ),
    (
        {"contracts": {"under_use_price_min_micro_per_kwh": 80_001}},
        "contracts.under_use_price_min_micro_per_kwh: with market.compensation expected at most",
    ),
    (
        {"contracts": {"fee_max_micro_per_kwh": 29_999}, "market": FEES},
        "contracts.fee_max_micro_per_kwh: the market's fees need 30000, was 29999",
    ),
    ({"market": {"session_every_s": 1_000}}, "market.session_every_s: expected a multiple of interval_s = 900"),
    (
        {"market": {"continuous": False, "closing_auction": False, "session_every_s": 0}},
        "market: expected continuous trading, closing auctions or sessions; all are switched off",
    ),
    ({"market": {"mechanism": "vickrey"}}, "market.mechanism: should be 'uniform', 'pay_as_bid'"),
    ({"network": {"lines": [{"source": "a"}]}}, "network.lines.0.target: is missing"),
    ({"network": {"places": [{"account": "ann", "node": "a"}]}}, "network.places.0.account: should match pattern"),
    (
        {"market": {"horizon_s": 600_000}},
        "market.horizon_s: trades need 608100 s to be settled, a withdrawal waits at most 604800 s for them",
    ),
    (
        {"contracts": {"settle_within_s": 3_600}},
        "contracts.settle_within_s: expected at least interval_s + reading_deadline_s = 4500",
    ),
    ({"contracts": {"price_feeds": "EUR/USD"}}, "contracts.price_feeds: should be a valid"),
    ({"contracts": {"price_feeds": ["EUR/€"]}}, "contracts.price_feeds: 'EUR/€' is no feed: expected 1 to 32"),
    ({"contracts": {"price_feeds": ["EUR/USD"] * 2}}, "contracts.price_feeds: expected each feed once"),
    (
        {"contracts": {"price_feeds": [f"{n}/USD" for n in range(17)]}},
        "contracts.price_feeds: expected at most 16 feeds, was 17",
    ),
]


def test_the_defaults_are_a_configuration() -> None:
    assert load() == Config()


@pytest.mark.parametrize(("tree", "sentence"), FAULTS, ids=[repr(tree)[:60] for tree, _ in FAULTS])
def test_a_fault_is_told_by_its_key(tree: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse(tree)
    assert sentence in str(told.value)


def test_a_withdrawal_waits_until_all_trades_before_it_are_settled() -> None:
    assert parse({}).exit_delay_s == 129_600 + 900 + 3_600 + 3_600
    assert parse({"contracts": {"exit_delay_s": 7}, "market": {"horizon_s": 600_000}}).exit_delay_s == 7


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        parse({"market": {"gate_s": 0, "colour": 1}, "http": {"port": -1}})
    assert len(str(told.value).splitlines()) == 3


def test_a_secret_is_not_told_with_its_fault() -> None:
    with pytest.raises(ConfigError) as told:
        parse({"market": {"invite": "secret7"}})
    assert "secret7" not in str(told.value)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[market]\ninterval_s = 300\ngate_s = 60\n[http]\nport = 1000\n", encoding="utf-8")
    environment = {
        "ENERGY_TRADE_MARKET__GATE_S": "30",
        "ENERGY_TRADE_HTTP__PORT": "2000",
        "ENERGY_TRADE_DATA": "somewhere",
        "ENERGY_TRADE_MARKET__NAME": "12",
        "ENERGY_TRADE_HTTP__ALLOWED_ORIGINS": '["https://home.example"]',
        "ENERGY_TRADE_CONTRACTS__PRICE_FEEDS": '["EUR/USD", "ETH/USD"]',
        "ENERGY_TRADE_TALLY": "of somebody else",
        "PATH": "/bin",
    }
    config = load(file, environment, {"http.port": 3000, "http.host": None})
    assert (config.market.interval_s, config.market.gate_s, config.http.port) == (300, 30, 3000)
    assert (config.data, config.market.name) == (Path("somewhere"), "12")
    assert config.http.allowed_origins == ("https://home.example",)
    assert config.contracts.price_feeds == ("EUR/USD", "ETH/USD")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("ENERGY_TRADE_MARKET__GATE_S", "soon", "market.gate_s: should be a valid integer"),
        ("ENERGY_TRADE_MARKET__INTERVAL_S", "61", "market.interval_s: expected one of"),
        ("ENERGY_TRADE_MARKET__COLOUR", "green", "market.colour: is not a known key"),
        ("ENERGY_TRADE_DATA__X", "1", "data: should"),
    ],
)
def test_a_fault_in_the_environment(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(environment={name: text})


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"market = [", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read")]
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        load(file)


def test_it_is_shown_without_secrets_and_reads_back() -> None:
    config = parse(
        {"market": {"invite": "welcome-neighbours"}, "chain": {"rpc_url": "https://me:pass@node.example/key"}}
    )
    shown = describe(config)
    assert "welcome-neighbours" not in shown + repr(config)
    assert "pass" not in shown
    assert "key" not in shown
    assert 'rpc_url = "https://node.example"' in shown


@pytest.mark.parametrize(
    ("tree", "fee_max"),
    [
        ({}, 0),
        ({"market": FEES}, 30_000),
        ({"market": FEES, "network": {"lines": LINES[:1]}}, 35_000),
        ({"network": {"lines": LINES}}, 1_000_000),
        ({"market": {"mechanism": "mcafee"}}, 1_000_000),
        ({"contracts": {"fee_max_micro_per_kwh": 40_000}, "market": FEES}, 40_000),
    ],
)
def test_the_contract_takes_the_fees_that_the_market_needs(tree: dict[str, Any], fee_max: int) -> None:
    assert parse(tree).fee_max_micro_per_kwh == fee_max


def test_lines_and_places_are_described_as_they_are_written(tmp_path: Path) -> None:
    account = "0x" + "ab" * 20
    place = {"account": account, "node": "feeder-1", "source": "solar"}
    config = parse({"network": {"lines": LINES, "places": [place]}})
    file = tmp_path / "market.toml"
    file.write_text(describe(config), encoding="utf-8")
    assert load(file) == config


def test_the_markets_rules_follow_the_configuration() -> None:
    rules = market_rules(parse({"market": FEES, "network": {"lines": LINES}}))
    assert rules.fees.community_fee(100_000) == 12_000
    assert rules.lines[1].limit_w == 7
    assert rules.stages.session_every_s == 3_600


def test_lines_in_a_circle_are_refused() -> None:
    circle = [*LINES, {"source": "c", "target": "a"}]
    with pytest.raises(ValueError, match="closes a circle"):
        market_rules(parse({"network": {"lines": circle}}))
