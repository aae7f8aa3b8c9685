// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IComplianceRules} from "../../src/interfaces/IComplianceRules.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Regulated} from "../base/Regulated.sol";
import {VM} from "../base/Vm.sol";

/// @title ComplianceFuzz: caps and freezes against a slow and obvious second computation
contract ComplianceFuzz is Regulated {
    uint64 private constant FIRST = NEW_YEAR_2028 - 20 * INTERVAL_S;

    mapping(address account => mapping(uint256 year => uint256 soldWh)) private _sold;

    /// @dev Batches around New Year in any order, each with any accounts' sales and purchases.
    function testCapsCountWhatWasSold(uint256 seed, uint16 cap_) external {
        enact(false, false, cap_, 0);
        for (uint256 i; i < 12; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint64 start = FIRST + uint64(seed % 40) * INTERVAL_S;
            _book(start, seed >> 8, cap_);
        }
        _compare(alice);
        _compare(bob);
        _compare(carol);
    }

    function testFreezeKeepsWhatItSays(uint64 heldWh, uint256 frozen, uint256 amount) external {
        (frozen, amount) = (frozen % 2 ** 96, amount % 2 ** 96); // about as much as is held
        heldWh %= 2 ** 40;
        VM.prank(address(token));
        ledger.mintEnergy(alice, heldWh);
        freeze(alice, frozen);
        uint256 held = heldWh * UNITS_PER_WH;
        bool expected = frozen == 0 || (frozen >= held ? amount == 0 : amount <= held - frozen);
        VM.assertTrue(compliance.canTransfer(alice, bob, amount) == expected, "what is left");
    }

    /// @dev Three rows for two of the three accounts, told by the ledger; all or nothing is booked.
    function _book(uint64 start, uint256 seed, uint256 capWh) private {
        address first = seed % 2 == 0 ? alice : bob;
        uint256 year = start < NEW_YEAR_2028 ? 2027 : 2028;
        (bytes memory rows, uint256 firstWh) = _rows(first, seed);
        (bytes memory row, uint256 secondWh) = _row(carol, seed >> 64);
        VM.prank(address(ledger));
        try compliance.afterBatch(start, bytes.concat(rows, row)) {
            _sold[first][year] += firstWh;
            _sold[carol][year] += secondWh;
        } catch (bytes memory why) {
            VM.assertEq(
                bytes32(bytes4(why)),
                bytes32(IComplianceRules.AccountSaleCapExceeded.selector),
                "only for the cap"
            );
            bool tooMuch =
                _sold[first][year] + firstWh > capWh || _sold[carol][year] + secondWh > capWh;
            VM.assertTrue(tooMuch && capWh != 0, "and rightly");
            return;
        }
        VM.assertTrue(capWh == 0 || _sold[first][year] <= capWh, "first keeps to the cap");
        VM.assertTrue(capWh == 0 || _sold[carol][year] <= capWh, "second keeps to the cap");
    }

    function _rows(address account, uint256 seed)
        private
        pure
        returns (bytes memory rows, uint256 soldWh)
    {
        (bytes memory one, uint256 oneWh) = _row(account, seed >> 1);
        (bytes memory two, uint256 twoWh) = _row(account, seed >> 32);
        return (bytes.concat(one, two), oneWh + twoWh);
    }

    function _row(address account, uint256 seed)
        private
        pure
        returns (bytes memory row, uint256 soldWh)
    {
        TestOrder memory order;
        order.side = uint8(seed % 2);
        order.executedWh = uint48(seed >> 1) % 3000;
        order.shortWh = uint48(seed >> 3) % 3000;
        order.meteredWh = type(uint48).max;
        order.value = -1;
        row = Batches.encode(account, order, 0, 0);
        return (row, order.side == Batches.SELL ? order.executedWh : 0);
    }

    function _compare(address account) private view {
        VM.assertEq(compliance.salesOf(account, 2028), _sold[account][2028], "the new year");
        VM.assertEq(compliance.salesOf(account, 2027), _sold[account][2027], "the old year");
    }
}
