// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {Dice, RandomBatch} from "../base/RandomBatch.sol";
import {VM} from "../base/Vm.sol";

/// @title LedgerInvariants: `INVARIANTS.md` after any sequence of calls
/// @dev Its own handler: each `act...` is one thing that somebody may do, always a valid one.
/// forge-config: default.invariant.runs = 24
contract LedgerInvariants is Community {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private constant ACCOUNTS = 4;
    uint256 private constant WH = 1e15;

    uint256[] private keys;
    uint64 private nextStart = START;
    uint256 private paidInMicro;
    uint256 private paidOutMicro;
    uint256 private mintedWh;
    uint256 private burnedWh;
    uint256 private settledBatches;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < ACCOUNTS; ++i) {
            keys.push(0x14A2 + i);
            register(0x3E7E20 + i, keys[i]);
            _fund(VM.addr(keys[i]), PURSE_MICRO);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](8);
        selectors[0] = this.actDeposit.selector;
        selectors[1] = this.actWithdraw.selector;
        selectors[2] = this.actSettle.selector;
        selectors[3] = this.actTransfer.selector;
        selectors[4] = this.actBurn.selector;
        selectors[5] = this.actMint.selector;
        selectors[6] = this.actCancel.selector;
        selectors[7] = this.actWait.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(this), selectors);
    }

    /* WHAT ANYBODY MAY DO */

    function actDeposit(uint256 who, uint256 moneyMicro) external {
        _fund(_account(who), 1 + moneyMicro % PURSE_MICRO);
    }

    function actWithdraw(uint256 who, uint256 moneyMicro, bool whilePaused) external {
        address account = _account(who);
        uint256 held = moneyOf(account);
        if (held == 0) return;
        moneyMicro = 1 + moneyMicro % held;
        _pause(whilePaused);
        VM.prank(account);
        ledger.withdraw(moneyMicro, account);
        _pause(false);
        paidOutMicro += moneyMicro;
    }

    /// @dev The market of the next interval; a market that its buyers cannot pay does not settle.
    function actSettle(uint256 seed) external {
        TestOrder[] memory orders = RandomBatch.make(Dice(seed, 0), keys, PRICE_MIN, PRICE_MAX);
        bytes memory rows = Batches.pack(ledger, nextStart, orders);
        uint256 money = _moneyTotal();
        VM.prank(operator);
        (bool success, bytes memory why) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.settleBatch, (nextStart, 0, 0, rows)));
        if (success) {
            _checkSettled(orders, rows, money);
        } else {
            VM.assertTrue(
                bytes4(why) == IEnergyLedger.AccountMoneyInsufficient.selector
                    || bytes4(why) == IEnergyLedger.AccountIntervalUsed.selector,
                "an honest batch fails only for money or a cancelled interval"
            );
        }
        _nextInterval(1);
    }

    function actTransfer(uint256 from, uint256 to, uint256 energyWh) external {
        energyWh %= energyOf(_account(from)) + 1;
        VM.prank(_account(from));
        token.transfer(_account(to), energyWh * WH);
    }

    function actBurn(uint256 who, uint256 energyWh) external {
        energyWh %= energyOf(_account(who)) + 1;
        VM.prank(_account(who));
        token.burnEnergyTokens(_account(who), energyWh * WH);
        burnedWh += energyWh;
    }

    /// @dev For the interval that ended last, which a cancellation may have used up.
    function actMint(uint256 who, uint256 energyWh) external {
        energyWh = 1 + energyWh % (uint256(EXPORT_LIMIT_W) * INTERVAL_S / 3600);
        VM.prank(oracle);
        try token.mintEnergyTokens(_account(who), energyWh * WH, Sources.SOLAR) {
            mintedWh += energyWh;
        } catch {}
    }

    function actCancel(uint256 who) external {
        VM.prank(_account(who));
        try ledger.cancelInterval(nextStart) {} catch {}
    }

    function actWait(uint256 intervals) external {
        _nextInterval(1 + uint64(intervals % 120));
    }

    /* INVARIANTS */

    function invariant_I1_I6() external view {
        _checkI1();
        _checkI6();
    }

    /// @dev The run did something.
    function afterInvariant() external view {
        VM.assertGe(settledBatches, 1, "no batch was settled");
    }

    /* HELP */

    /// @dev I1: what the accounts hold is what is there.
    function _checkI1() private view {
        VM.assertEq(_moneyTotal(), currency.balanceOf(address(ledger)), "money");
        VM.assertEq(_moneyTotal(), paidInMicro - paidOutMicro, "paid in less paid out");
        VM.assertEq(_energyTotal(), ledger.energyWhTotal(), "energy");
        VM.assertEq(token.totalSupply(), _energyTotal() * WH, "the token's face");
    }

    /// @dev I6: energy comes only from production and goes only to consumption.
    function _checkI6() private view {
        VM.assertEq(_energyTotal(), mintedWh - burnedWh, "minted less burned");
    }

    /// @dev I2: money neither came nor went; I5: the same batch is refused from now on.
    function _checkSettled(TestOrder[] memory orders, bytes memory rows, uint256 money) private {
        settledBatches += 1;
        VM.assertEq(_moneyTotal(), money, "a batch conserves money");
        for (uint256 i; i < orders.length; ++i) {
            if (orders[i].side == Batches.SELL) mintedWh += orders[i].meteredWh;
            else burnedWh += orders[i].meteredWh;
        }
        VM.prank(operator);
        (bool again, bytes memory why) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.settleBatch, (nextStart, 0, 0, rows)));
        VM.assertFalse(again, "settled twice");
        VM.assertTrue(bytes4(why) == IEnergyLedger.AccountIntervalUsed.selector, "used");
    }

    function _nextInterval(uint64 intervals) private {
        nextStart += intervals * INTERVAL_S;
        VM.warp(nextStart + INTERVAL_S);
    }

    function _fund(address account, uint256 moneyMicro) private {
        fund(account, moneyMicro);
        paidInMicro += moneyMicro;
    }

    function _pause(bool stop) private {
        if (ledger.paused() == stop) return;
        VM.prank(guardian);
        ledger.setPaused(stop);
    }

    function _account(uint256 who) private view returns (address) {
        return VM.addr(keys[who % ACCOUNTS]);
    }

    function _moneyTotal() private view returns (uint256 total) {
        for (uint256 i; i < ACCOUNTS; ++i) {
            total += moneyOf(_account(i));
        }
    }

    function _energyTotal() private view returns (uint256 total) {
        for (uint256 i; i < ACCOUNTS; ++i) {
            total += energyOf(_account(i));
        }
    }
}
