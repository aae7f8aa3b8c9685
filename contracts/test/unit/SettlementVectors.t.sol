// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title SettlementVectorsTest: batches that the coordinator's settlement made, settled here
/// @dev The rows are Python's bytes; the sums and balances are Python's too.
contract SettlementVectorsTest is Community {
    string private json;

    function setUp() public override {
        super.setUp();
        json = VM.readFile("../tests/cases/settlement_vectors.json");
        VM.chainId(_uint(".domain.chain_id"));
        ledger = _ledgerAt(VM.parseJsonAddress(json, ".domain.ledger"));
        address[] memory accounts = VM.parseJsonAddressArray(json, ".accounts");
        uint256 openingMicro = _uint(".opening_money_micro");
        for (uint256 i; i < accounts.length; ++i) {
            fund(accounts[i], openingMicro);
        }
    }

    function testBatches() external {
        uint256 count;
        for (string memory at = _item(".batches", 0); VM.keyExistsJson(json, at);) {
            _settles(at);
            _hasBalances(string.concat(at, ".balances"));
            at = _item(".batches", ++count);
        }
        VM.assertGe(count, 9, "batches were read");
    }

    function _settles(string memory at) private {
        uint64 start = uint64(_uint(string.concat(at, ".delivery_start")));
        bytes32 readingsRoot = VM.parseJsonBytes32(json, string.concat(at, ".readings_root"));
        bytes32 receiptsRoot = VM.parseJsonBytes32(json, string.concat(at, ".receipts_root"));
        bytes memory rows = VM.parseJsonBytes(json, string.concat(at, ".rows_hex"));
        VM.warp(start + ledger.intervalS());
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.BatchSettled(
            start,
            VM.parseJsonBytes32(json, string.concat(at, ".batch_hash")),
            readingsRoot,
            receiptsRoot,
            _totals(string.concat(at, ".totals"))
        );
        VM.prank(operator);
        ledger.settleBatch(start, readingsRoot, receiptsRoot, rows);
    }

    /// @dev The sums as `BatchSettled` packs them.
    function _totals(string memory at) private view returns (uint256) {
        int64 valueMicro = int64(VM.parseJsonInt(json, string.concat(at, ".value_micro")));
        return uint256(uint64(valueMicro)) << 192 | _uint(string.concat(at, ".traded_wh")) << 144
            | _uint(string.concat(at, ".minted_wh")) << 96 | _uint(string.concat(at, ".burned_wh"))
            << 48 | _uint(string.concat(at, ".fees_micro"));
    }

    function _hasBalances(string memory list) private view {
        uint256 count;
        for (string memory at = _item(list, 0); VM.keyExistsJson(json, at);) {
            address account = VM.parseJsonAddress(json, string.concat(at, ".account"));
            VM.assertEq(moneyOf(account), _uint(string.concat(at, ".money_micro")), at);
            VM.assertEq(energyOf(account), _uint(string.concat(at, ".energy_wh")), at);
            at = _item(list, ++count);
        }
        VM.assertGe(count, 2, "balances were read");
    }

    /// @dev A ledger with the vectors' terms at the vectors' address: its code and its storage.
    function _ledgerAt(address place) private returns (EnergyLedger) {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.market = VM.parseJsonString(json, ".market");
        terms.intervalS = uint64(_uint(".interval_s"));
        terms.genesis = uint64(_uint(".genesis"));
        terms.priceMin = int64(VM.parseJsonInt(json, ".price_min_micro_per_kwh"));
        terms.priceMax = int64(VM.parseJsonInt(json, ".price_max_micro_per_kwh"));
        terms.meteredMaxWh = uint48(_uint(".metered_max_wh"));
        terms.shortfallPriceMax = int64(VM.parseJsonInt(json, ".shortfall_price_max_micro_per_kwh"));
        terms.underUsePriceMin = int64(VM.parseJsonInt(json, ".under_use_price_min_micro_per_kwh"));
        terms.feeMaxMicroPerKwh = uint48(_uint(".fee_max_micro_per_kwh"));
        address made = address(newLedger(terms));
        VM.etch(place, made.code);
        for (uint256 slot; slot < 16; ++slot) {
            VM.store(place, bytes32(slot), VM.load(made, bytes32(slot)));
        }
        return EnergyLedger(place);
    }

    function _item(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(list, "[", VM.toString(index), "]");
    }

    function _uint(string memory at) private view returns (uint256) {
        return VM.parseJsonUint(json, at);
    }
}
