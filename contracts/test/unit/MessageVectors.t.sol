// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {ReadingDisputes} from "../../src/ReadingDisputes.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title MessageVectorsTest: the golden withdrawals, mandates, corrections and settlements
/// @dev A contract that takes the signature has made the same digest as Python.
contract MessageVectorsTest is Community {
    string private json;

    function setUp() public override {
        super.setUp();
        json = VM.readFile("../tests/cases/protocol_vectors.json");
        VM.chainId(_uint(".domain.chain_id"));
        address place = VM.parseJsonAddress(json, ".domain.ledger");
        VM.etch(place, address(ledger).code);
        for (uint256 slot; slot < 16; ++slot) {
            VM.store(place, bytes32(slot), VM.load(address(ledger), bytes32(slot)));
        }
        ledger = EnergyLedger(place);
    }

    function testWithdrawals() external {
        for (uint256 i; i < _count("withdrawals"); ++i) {
            string memory at = _item("withdrawals", i);
            IEnergyLedger.Withdrawal memory withdrawal = IEnergyLedger.Withdrawal({
                account: _address(at, "account"),
                to: _address(at, "to"),
                moneyMicro: _uint(at, "money_micro"),
                relayFeeMicro: _uint(at, "relay_fee_micro"),
                nonce: _uint(at, "nonce"),
                deadline: _uint(at, "deadline")
            });
            (bytes32 r, bytes32 vs) = _signature(at);
            fund(withdrawal.account);
            uint256 before = currency.balanceOf(withdrawal.to);
            VM.prank(operator);
            ledger.relayWithdrawal(withdrawal, r, vs);
            VM.assertEq(currency.balanceOf(withdrawal.to) - before, withdrawal.moneyMicro, at);
        }
    }

    function testMandates() external {
        for (uint256 i; i < _count("mandates"); ++i) {
            string memory at = _item("mandates", i);
            IEnergyLedger.Mandate memory mandate = IEnergyLedger.Mandate({
                account: _address(at, "account"),
                delegate: _address(at, "delegate"),
                validFrom: uint40(_uint(at, "valid_from")),
                validUntil: uint40(_uint(at, "valid_until")),
                energyPerIntervalMaxWh: uint48(_uint(at, "energy_per_interval_max_wh")),
                buyLimitMax: int64(_int(at, "buy_limit_max")),
                sellLimitMin: int64(_int(at, "sell_limit_min"))
            });
            (bytes32 r, bytes32 vs) = _signature(at);
            ledger.setMandateFor(mandate, r, vs);
            IEnergyLedger.Mandate memory set = ledger.mandateOf(mandate.account, mandate.delegate);
            VM.assertEq(keccak256(abi.encode(set)), keccak256(abi.encode(mandate)), at);
        }
    }

    /// @dev What Ann and Ben lose goes to the treasury.
    function testCorrections() external {
        for (uint256 i; i < _count("corrections"); ++i) {
            string memory at = _item("corrections", i);
            address account = _address(at, "account");
            int64 energyWh = int64(_int(at, "energy_wh"));
            int64 moneyMicro = int64(_int(at, "money_micro"));
            uint64 start = uint64(_uint(at, "delivery_start"));
            fund(account);
            VM.prank(address(token));
            ledger.mintEnergy(account, uint64(-energyWh));
            IEnergyLedger.CorrectionRow[] memory rows =
                _correction(at, account, energyWh, moneyMicro);
            VM.warp(start + INTERVAL_S);
            VM.prank(operator);
            ledger.correctInterval(
                start,
                uint8(_uint(at, "revision")),
                0,
                _bytes32(string.concat(at, ".message.receipts_root")),
                rows
            );
            VM.assertEq(energyOf(account), 0, at);
            VM.assertEq(moneyOf(account), PURSE_MICRO - uint64(-moneyMicro), at);
        }
    }

    function testSettlements() external {
        ReadingDisputes disputes = new ReadingDisputes(ledger, registry, treasury, 25e6, 30 days);
        for (uint256 i; i < _count("settlements"); ++i) {
            string memory at = _item("settlements", i);
            (bytes32 r, bytes32 vs) = _signature(at);
            IReadingDisputes.Settlement memory settlement = IReadingDisputes.Settlement({
                deliveryStart: uint64(_uint(at, "delivery_start")),
                revision: uint32(_uint(at, "revision")),
                batchHash: _bytes32(string.concat(at, ".message.batch_hash")),
                readingsRoot: _bytes32(string.concat(at, ".message.readings_root")),
                receiptsRoot: _bytes32(string.concat(at, ".message.receipts_root")),
                signer: VM.parseJsonAddress(json, string.concat(at, ".signer")),
                r: r,
                vs: vs
            });
            bytes32 digest = disputes.settlementDigest(settlement);
            VM.assertEq(digest, _bytes32(string.concat(at, ".digest")), at);
            VM.assertTrue(CompactSignature.isBy(settlement.signer, digest, r, vs), at);
        }
    }

    function _correction(string memory at, address account, int64 energyWh, int64 moneyMicro)
        private
        view
        returns (IEnergyLedger.CorrectionRow[] memory rows)
    {
        (bytes32 r, bytes32 vs) = _signature(at);
        IEnergyLedger.CorrectionRow memory loss =
            IEnergyLedger.CorrectionRow(account, energyWh, moneyMicro, 0, 0, r, vs);
        IEnergyLedger.CorrectionRow memory gain =
            IEnergyLedger.CorrectionRow(treasury, -energyWh, -moneyMicro, 0, 0, 0, 0);
        rows = new IEnergyLedger.CorrectionRow[](2);
        bool first = account < treasury;
        (rows[0], rows[1]) = first ? (loss, gain) : (gain, loss);
    }

    function _signature(string memory at) private view returns (bytes32, bytes32) {
        bytes memory compact = VM.parseJsonBytes(json, string.concat(at, ".compact_signature"));
        return abi.decode(compact, (bytes32, bytes32));
    }

    /// @dev How many there are; the tests mean something only with two or more.
    function _count(string memory list) private view returns (uint256 count) {
        while (VM.keyExistsJson(json, _item(list, count))) ++count;
        VM.assertGe(count, 2, list);
    }

    function _item(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(".", list, "[", VM.toString(index), "]");
    }

    function _uint(string memory at) private view returns (uint256) {
        return VM.parseJsonUint(json, at);
    }

    function _uint(string memory at, string memory field) private view returns (uint256) {
        return VM.parseJsonUint(json, string.concat(at, ".message.", field));
    }

    function _int(string memory at, string memory field) private view returns (int256) {
        return VM.parseJsonInt(json, string.concat(at, ".message.", field));
    }

    function _bytes32(string memory at) private view returns (bytes32) {
        return VM.parseJsonBytes32(json, at);
    }

    function _address(string memory at, string memory field) private view returns (address) {
        return VM.parseJsonAddress(json, string.concat(at, ".message.", field));
    }
}
