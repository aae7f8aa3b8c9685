// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Authority} from "../../src/Authority.sol";
import {Certificates} from "../../src/Certificates.sol";
import {Compliance} from "../../src/Compliance.sol";
import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {EnergyToken} from "../../src/EnergyToken.sol";
import {GridManagement} from "../../src/GridManagement.sol";
import {P2PTrading} from "../../src/P2PTrading.sol";
import {ReadingDisputes} from "../../src/ReadingDisputes.sol";
import {SmartMeterRegistry} from "../../src/SmartMeterRegistry.sol";
import {DemoCurrency} from "../../src/dev/DemoCurrency.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "./Batches.sol";
import {VM} from "./Vm.sol";

/// @title Community: every contract deployed with its roles as in production, and a few accounts
abstract contract Community {
    uint64 internal constant INTERVAL_S = 900;
    uint64 internal constant GENESIS = 1_800_000_000;
    uint64 internal constant START = GENESIS + 10 * INTERVAL_S;
    int64 internal constant PRICE_MIN = -500_000;
    int64 internal constant PRICE_MAX = 1_000_000;
    int64 internal constant PRICE = 200_000;
    int64 internal constant SHORTFALL_PRICE_MAX = 400_000;
    int64 internal constant UNDER_USE_PRICE_MIN = 80_000;
    uint48 internal constant METERED_MAX_WH = 1_000_000;
    uint48 internal constant FEE_MAX = 20_000;
    uint256 internal constant DECLARATION_MAX_S = 1 hours;
    uint256 internal constant BOUNTY_MICRO = 25e6;
    uint256 internal constant BOND_DELAY_S = 30 days;
    uint32 internal constant EXIT_DELAY_S = 2 days;
    uint32 internal constant SETTLE_WITHIN_S = 30 days;
    uint256 internal constant SETTLEMENT_PERIOD_S = 1 days;
    uint256 internal constant PURSE_MICRO = 1_000e6;

    uint256 internal constant ALICE = 0xA11CE;
    uint256 internal constant BOB = 0xB0B;
    uint256 internal constant CAROL = 0xCA201;
    uint256 internal constant METER = 0x3E7E2;
    uint32 internal constant IMPORT_LIMIT_W = 20_000;
    uint32 internal constant EXPORT_LIMIT_W = 10_000;

    address internal immutable alice = VM.addr(ALICE);
    address internal immutable bob = VM.addr(BOB);
    address internal immutable carol = VM.addr(CAROL);
    address internal immutable operator = VM.addr(0x0E);
    address internal immutable oracle = VM.addr(0x0A);
    address internal immutable gridOperator = VM.addr(0x09);
    address internal immutable guardian = VM.addr(0x06);
    address internal immutable complianceOfficer = VM.addr(0xC0);
    address internal immutable treasury = VM.addr(0x07EA);

    Authority internal authority;
    DemoCurrency internal currency;
    EnergyLedger internal ledger;
    SmartMeterRegistry internal registry;
    Certificates internal certificates;
    EnergyToken internal token;
    Compliance internal compliance;
    ReadingDisputes internal disputes;
    GridManagement internal grid;
    P2PTrading internal trading;
    P2PTrading internal nativeTrading;

    function setUp() public virtual {
        VM.warp(GENESIS - 1 days); // roles count from their granting on
        authority = Authority(_deploy("Authority", abi.encode(address(this))));
        currency = DemoCurrency(_deploy("DemoCurrency", ""));
        ledger = newLedger();
        registry = SmartMeterRegistry(_deploy("SmartMeterRegistry", abi.encode(authority, ledger)));
        certificates = Certificates(_deploy("Certificates", abi.encode(ledger)));
        token = EnergyToken(
            _deploy("EnergyToken", abi.encode(authority, ledger, registry, certificates))
        );
        compliance = Compliance(_deploy("Compliance", abi.encode(authority, ledger)));
        disputes = ReadingDisputes(
            _deploy(
                "ReadingDisputes",
                abi.encode(ledger, registry, treasury, BOUNTY_MICRO, BOND_DELAY_S)
            )
        );
        grid = GridManagement(
            _deploy(
                "GridManagement",
                abi.encode(authority, 50_000, 150_000, 3 * INTERVAL_S, DECLARATION_MAX_S)
            )
        );
        trading = newTrading(address(currency));
        nativeTrading = newTrading(address(0));
        ledger.setEnergyToken(address(token));
        grantRoles();
        VM.warp(START + INTERVAL_S);
    }

    /* DEPLOYMENT */

    /// @dev From the artifact: a test that had every contract's code in its own would take the compiler
    /// a second longer, and there are fifty.
    function _deploy(string memory name, bytes memory values) private returns (address) {
        return VM.deployCode(string.concat(name, ".sol:", name), values);
    }

    function newLedger() internal returns (EnergyLedger) {
        return newLedger(address(currency));
    }

    function newLedger(address money) internal returns (EnergyLedger) {
        return newLedger(termsOf(money));
    }

    function newLedger(IEnergyLedger.Terms memory terms) internal returns (EnergyLedger made) {
        made = EnergyLedger(_deploy("EnergyLedger", abi.encode(authority, terms)));
        made.setSettler(operator);
    }

    /// @dev The terms of every test that needs no others: compensation and fees are possible.
    function termsOf(address money) internal view returns (IEnergyLedger.Terms memory) {
        return IEnergyLedger.Terms({
            market: "sunny-street",
            intervalS: INTERVAL_S,
            genesis: GENESIS,
            currency: money,
            priceMin: PRICE_MIN,
            priceMax: PRICE_MAX,
            shortfallPriceMax: SHORTFALL_PRICE_MAX,
            underUsePriceMin: UNDER_USE_PRICE_MIN,
            meteredMaxWh: METERED_MAX_WH,
            feeMaxMicroPerKwh: FEE_MAX,
            feeAccount: treasury,
            exitDelayS: EXIT_DELAY_S,
            settleWithinS: SETTLE_WITHIN_S
        });
    }

    function newTrading(address money) internal returns (P2PTrading) {
        return P2PTrading(
            _deploy("P2PTrading", abi.encode(ledger, token, registry, money, SETTLEMENT_PERIOD_S))
        );
    }

    /// @dev The roles of `roles.json`, the file that the deployment reads too.
    function grantRoles() internal {
        string memory roles = VM.readFile("roles.json");
        _grant(roles, ".operator", operator);
        _grant(roles, ".oracle", oracle);
        _grant(roles, ".grid", gridOperator);
        _grant(roles, ".guardian", guardian);
        _grant(roles, ".compliance", complianceOfficer);
        _grant(roles, ".disputes", address(disputes));
    }

    function _grant(string memory roles, string memory role, address member) private {
        uint64 id = uint64(VM.parseJsonUint(roles, string.concat(role, ".id")));
        string memory functions = string.concat(role, ".functions");
        string[] memory names = VM.parseJsonKeys(roles, functions);
        for (uint256 i; i < names.length; ++i) {
            string[] memory calls =
                VM.parseJsonStringArray(roles, string.concat(functions, ".", names[i]));
            bytes4[] memory selectors = new bytes4[](calls.length);
            for (uint256 j; j < calls.length; ++j) {
                selectors[j] = bytes4(keccak256(bytes(calls[j])));
            }
            authority.setTargetFunctionRole(_target(names[i]), selectors, id);
        }
        authority.grantRole(id, member, 0);
    }

    function _target(string memory name) private view returns (address) {
        bytes32 hash = keccak256(bytes(name));
        if (hash == keccak256("Compliance")) return address(compliance);
        if (hash == keccak256("EnergyLedger")) return address(ledger);
        if (hash == keccak256("EnergyToken")) return address(token);
        if (hash == keccak256("GridManagement")) return address(grid);
        if (hash == keccak256("SmartMeterRegistry")) return address(registry);
        revert(string.concat("roles.json names an unknown contract: ", name));
    }

    /* MONEY AND BATCHES */

    function fund(address account) internal {
        fund(account, PURSE_MICRO);
    }

    function fund(address account, uint256 moneyMicro) internal {
        currency.mint(address(this), moneyMicro);
        currency.approve(address(ledger), moneyMicro);
        ledger.depositFor(account, moneyMicro);
    }

    function settle(uint64 start, TestOrder[] memory orders) internal {
        settleRows(start, Batches.pack(ledger, start, orders));
    }

    function settleRows(uint64 start, bytes memory rows) internal {
        VM.prank(operator);
        ledger.settleBatch(start, "readings", "receipts", rows);
    }

    function pair(TestOrder memory first, TestOrder memory second)
        internal
        pure
        returns (TestOrder[] memory orders)
    {
        orders = new TestOrder[](2);
        orders[0] = first;
        orders[1] = second;
    }

    /// @dev Bob buys from Alice at `PRICE`.
    function trade(uint48 energyWh) internal pure returns (TestOrder[] memory) {
        return
            pair(
                Batches.sell(ALICE, energyWh, PRICE, PRICE),
                Batches.buy(BOB, energyWh, PRICE, PRICE)
            );
    }

    function energyOf(address account) internal view returns (uint256 energyWh) {
        (energyWh,,,,) = ledger.accountOf(account);
    }

    function moneyOf(address account) internal view returns (uint256 moneyMicro) {
        (, moneyMicro,,,) = ledger.accountOf(account);
    }

    /* METERS */

    function deviceOf(uint256 meterKey) internal pure returns (uint256) {
        (uint256 x, uint256 y) = VM.publicKeyP256(meterKey);
        return uint256(keccak256(abi.encode(x, y)));
    }

    function register(uint256 meterKey, uint256 accountKey) internal returns (uint256 deviceId) {
        deviceId = deviceOf(meterKey);
        bytes memory proof = proofOf(meterKey, accountKey);
        VM.prank(operator);
        registry.registerMeter(deviceId, proof);
    }

    function proofOf(uint256 meterKey, uint256 accountKey) internal view returns (bytes memory) {
        bytes32 digest = registrationDigest(meterKey, VM.addr(accountKey));
        (bytes32 r, bytes32 s) = VM.signP256(meterKey, digest);
        (bytes32 accountR, bytes32 accountVs) = Batches.compact(accountKey, digest);
        return proofOf(
            meterKey,
            VM.addr(accountKey),
            bytes.concat(r, lowS(s)),
            bytes.concat(accountR, accountVs)
        );
    }

    function proofOf(
        uint256 meterKey,
        address account,
        bytes memory meterSignature,
        bytes memory accountSignature
    ) internal pure returns (bytes memory) {
        (uint256 x, uint256 y) = VM.publicKeyP256(meterKey);
        return
            abi.encode(
                x, y, account, IMPORT_LIMIT_W, EXPORT_LIMIT_W, meterSignature, accountSignature
            );
    }

    function registrationDigest(uint256 meterKey, address account) internal view returns (bytes32) {
        (uint256 x, uint256 y) = VM.publicKeyP256(meterKey);
        bytes32 typeHash = keccak256(
            "MeterRegistration(uint256 deviceId,address account,bytes32 publicKeyX,bytes32 publicKeyY,uint32 importLimitW,uint32 exportLimitW)"
        );
        return digestOf(
            keccak256(
                abi.encode(
                    typeHash, deviceOf(meterKey), account, x, y, IMPORT_LIMIT_W, EXPORT_LIMIT_W
                )
            )
        );
    }

    function packReading(
        uint256 timestamp,
        uint256 sequence,
        uint256 consumptionWh,
        uint256 productionWh
    ) internal pure returns (uint256) {
        return timestamp << 216 | sequence << 176 | consumptionWh << 112 | productionWh << 48;
    }

    /// @dev Sign a packed reading: r || s || previous || samples.
    function signReading(uint256 meterKey, uint256 reading) internal view returns (bytes memory) {
        (bytes32 r, bytes32 s) =
            VM.signP256(meterKey, readingDigest(deviceOf(meterKey), reading, 0, 0));
        return bytes.concat(r, lowS(s), bytes32(0), bytes32(0));
    }

    function readingDigest(uint256 deviceId, uint256 reading, bytes32 previous, bytes32 samples)
        internal
        view
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "Reading(uint256 deviceId,uint64 sequence,uint64 timestamp,uint64 consumptionWh,uint64 productionWh,uint16 flags,bytes32 previous,bytes32 samples)"
        );
        return digestOf(
            keccak256(
                abi.encode(
                    typeHash,
                    deviceId,
                    uint256(uint40(reading >> 176)),
                    reading >> 216,
                    uint256(uint64(reading >> 112)),
                    uint256(uint64(reading >> 48)),
                    uint256(uint16(reading >> 32)),
                    previous,
                    samples
                )
            )
        );
    }

    function read(uint256 meterKey, uint256 timestamp, uint256 sequence, uint256 productionWh)
        internal
    {
        uint256 reading = packReading(timestamp, sequence, 0, productionWh);
        registry.submitReading(deviceOf(meterKey), reading, signReading(meterKey, reading));
    }

    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", ledger.domainSeparator(), structHash));
    }

    function lowS(bytes32 s) internal pure returns (bytes32) {
        uint256 order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;
        return uint256(s) > order / 2 ? bytes32(order - uint256(s)) : s;
    }
}
