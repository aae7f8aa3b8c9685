// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "./Batches.sol";
import {Community} from "./Community.sol";
import {Consents} from "./Consents.sol";
import {VM} from "./Vm.sol";

/// @title LedgerTest: a community whose ledger is tested: refused batches, ways out, flags
abstract contract LedgerTest is Community {
    /* BATCHES */

    function refused(uint64 start, TestOrder[] memory orders, bytes memory why) internal {
        bytes memory rows = Batches.pack(ledger, start, orders);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.settleBatch(start, 0, 0, rows);
    }

    function refusedRows(bytes memory rows, bytes memory why) internal {
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.settleBatch(START, 0, 0, rows);
    }

    function refusedRows(bytes memory rows, bytes4 why) internal {
        VM.prank(operator);
        VM.expectPartialRevert(why);
        ledger.settleBatch(START, 0, 0, rows);
    }

    function trySettle(uint64 start, bytes memory rows)
        internal
        returns (bool success, bytes memory why)
    {
        VM.prank(operator);
        return address(ledger).call(abi.encodeCall(IEnergyLedger.settleBatch, (start, 0, 0, rows)));
    }

    function digest(TestOrder memory order) internal view returns (bytes32) {
        return Batches.digestOf(ledger, START, order);
    }

    /// @dev As `BatchSettled` has them.
    function sums(
        int64 paidMicro,
        uint48 tradedWh,
        uint48 mintedWh,
        uint48 burnedWh,
        uint48 keptMicro
    ) internal pure returns (uint256) {
        return uint256(
            bytes32(abi.encodePacked(paidMicro, tradedWh, mintedWh, burnedWh, keptMicro))
        );
    }

    /// @dev The account of `trade` whose rows come first.
    function first() internal view returns (address) {
        return alice < bob ? alice : bob;
    }

    function byFirst(bytes4 selector) internal view returns (bytes memory) {
        return abi.encodeWithSelector(selector, first());
    }

    function latestOf(address account) internal view returns (uint256 latest) {
        (,, latest,,) = ledger.accountOf(account);
    }

    function usedOf(address account) internal view returns (uint256 used) {
        (,,, used,) = ledger.accountOf(account);
    }

    /// @dev Make this test the market's compliance contract and flag the account.
    function flag(address account, uint8 flags) internal {
        ledger.setCompliance(address(this), false);
        ledger.setAccountFlags(account, flags);
    }

    function pause(bool stop) internal {
        VM.prank(guardian);
        ledger.setPaused(stop);
    }

    /* WAYS OUT */

    /// @dev The whole way of a member that needs nobody: ask, wait, take.
    function leave(EnergyLedger from, address account, uint256 moneyMicro) internal {
        VM.prank(account);
        from.requestWithdrawal(moneyMicro);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        VM.prank(account);
        from.withdraw(moneyMicro, account);
    }

    /// @dev The account's next signed withdrawal, to itself, good for a day.
    function wanted(address account, uint256 moneyMicro)
        internal
        view
        returns (IEnergyLedger.Withdrawal memory)
    {
        (,, uint256 nonce) = ledger.withdrawalOf(account);
        return
            IEnergyLedger.Withdrawal(
                account, account, moneyMicro, 0, nonce, block.timestamp + 1 days
            );
    }

    function relay(address bringer, uint256 key, IEnergyLedger.Withdrawal memory withdrawal)
        internal
    {
        (bytes32 r, bytes32 vs) = Consents.withdrawal(key, ledger, withdrawal);
        VM.prank(bringer);
        ledger.relayWithdrawal(withdrawal, r, vs);
    }

    function refusedRelay(
        address bringer,
        uint256 key,
        IEnergyLedger.Withdrawal memory withdrawal,
        bytes memory why
    ) internal {
        (bytes32 r, bytes32 vs) = Consents.withdrawal(key, ledger, withdrawal);
        VM.prank(bringer);
        VM.expectRevert(why);
        ledger.relayWithdrawal(withdrawal, r, vs);
    }
}
