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
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = EnergyLedger.settleBatch.selector;
        authority.setTargetFunctionRole(address(ledger), selectors, 1);
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
        VM.assertGe(count, 5, "batches were read");
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
            _uint(string.concat(at, ".totals.traded_wh")),
            _uint(string.concat(at, ".totals.value_micro")),
            _uint(string.concat(at, ".totals.minted_wh")),
            _uint(string.concat(at, ".totals.burned_wh"))
        );
        VM.prank(operator);
        ledger.settleBatch(start, readingsRoot, receiptsRoot, rows);
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
        EnergyLedger made = new EnergyLedger(
            address(authority),
            VM.parseJsonString(json, ".market"),
            _uint(".interval_s"),
            _uint(".genesis"),
            address(currency),
            VM.parseJsonInt(json, ".price_min_micro_per_kwh"),
            VM.parseJsonInt(json, ".price_max_micro_per_kwh"),
            _uint(".metered_max_wh")
        );
        VM.etch(place, address(made).code);
        for (uint256 slot; slot < 8; ++slot) {
            VM.store(place, bytes32(slot), VM.load(address(made), bytes32(slot)));
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
