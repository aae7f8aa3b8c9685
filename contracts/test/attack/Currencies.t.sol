// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {P2PTrading} from "../../src/P2PTrading.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Community} from "../base/Community.sol";
import {CallbackToken, FalseToken, FeeToken, OddToken, SilentToken} from "../base/Tokens.sol";
import {VM} from "../base/Vm.sol";

/// @title CurrencyAttacks: a currency that misbehaves takes nothing from anybody
contract CurrencyAttacks is Community {
    EnergyLedger private odd;

    function testFeeOnTransferCreditsWhatArrived() external {
        OddToken money = new FeeToken();
        _depositWith(money, 1000);
        VM.assertEq(_money(address(this)), 990, "less the fee");
        VM.assertEq(money.balanceOf(address(odd)), 990, "which is there");
    }

    function testFalseReturnCreditsNothing() external {
        FalseToken money = new FalseToken();
        _depositWith(money, 1000);
        money.refuse(true);
        bytes memory why =
            abi.encodeWithSignature("SafeERC20FailedOperation(address)", address(money));
        VM.expectRevert(why);
        odd.deposit(1);
        VM.expectRevert(why);
        odd.withdraw(1, alice);
        VM.assertEq(_money(address(this)), 1000, "as before");
    }

    function testNoReturnWorks() external {
        SilentToken money = new SilentToken();
        odd = newLedger(address(money));
        money.mint(address(this), 1000);
        odd.deposit(1000);
        odd.withdraw(400, alice);
        VM.assertEq(_money(address(this)), 600, "the rest");
        VM.assertEq(money.balanceOf(alice), 400, "sent");
    }

    function testStrayTransfersCreditNobody() external {
        OddToken money = new FeeToken();
        _depositWith(money, 1000);
        money.mint(address(odd), 5000);
        odd.deposit(1000);
        VM.assertEq(_money(address(this)), 1980, "only what this deposit brought");
    }

    function testReentrantDepositIsRefused() external {
        CallbackToken money = new CallbackToken();
        _depositWith(money, 1000);
        money.callBack(address(odd), abi.encodeCall(IEnergyLedger.deposit, (1000)));
        odd.deposit(1000);
        _wasLockedOut(money);
        VM.assertEq(_money(address(this)), 2000, "once each");
    }

    function testReentrantWithdrawalIsRefused() external {
        CallbackToken money = new CallbackToken();
        _depositWith(money, 1000);
        money.callBack(address(odd), abi.encodeCall(IEnergyLedger.withdraw, (1000, alice)));
        odd.withdraw(1000, alice);
        _wasLockedOut(money);
        VM.assertEq(money.balanceOf(alice), 1000, "once");
    }

    function testReentrancyAcrossFunctionsIsRefused() external {
        CallbackToken money = new CallbackToken();
        _depositWith(money, 1000);
        money.callBack(address(odd), abi.encodeCall(IEnergyLedger.cancelInterval, (START)));
        odd.withdraw(1, alice);
        _wasLockedOut(money);
        money.callBack(
            address(odd), abi.encodeCall(IEnergyLedger.settleBatch, (START, 0, 0, new bytes(0)))
        );
        odd.deposit(1);
        _wasLockedOut(money);
    }

    function testP2PWantsTheWholePayment() external {
        FeeToken money = new FeeToken();
        P2PTrading market = _offerFor(address(money));
        money.mint(bob, 1e6);
        VM.startPrank(bob);
        money.approve(address(market), 1e6);
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.PaymentInvalid.selector, 198_000, 200_000)
        );
        market.matchOrder(1);
    }

    function testP2PReentrancyIsRefused() external {
        CallbackToken money = new CallbackToken();
        P2PTrading market = _offerFor(address(money));
        money.mint(bob, 1e6);
        money.callBack(address(market), abi.encodeCall(P2PTrading.closeSellOrder, (1)));
        VM.startPrank(bob);
        money.approve(address(market), 1e6);
        market.matchOrder(1);
        _wasLockedOut(money);
    }

    function testP2PKeepsARefusedPayment() external {
        FalseToken money = new FalseToken();
        P2PTrading market = _offerFor(address(money));
        money.mint(bob, 1e6);
        VM.startPrank(bob);
        money.approve(address(market), 1e6);
        market.matchOrder(1);
        market.settleTrade(1);
        VM.stopPrank();
        money.refuse(true);
        VM.prank(alice);
        market.settleTrade(1);
        VM.assertEq(token.balanceOf(bob), 1e18, "the buyer has its energy");
        VM.assertEq(market.proceeds(alice), 200_000, "the seller can fetch");
        money.refuse(false);
        VM.prank(alice);
        market.fetchProceeds(alice);
        VM.assertEq(money.balanceOf(alice), 200_000, "fetched");
    }

    /// @dev Alice offers 1 kWh at 0.20 in a market of this currency.
    function _offerFor(address money) private returns (P2PTrading market) {
        register(METER, ALICE);
        VM.prank(oracle);
        token.mintEnergyTokens(alice, 1e18, Sources.SOLAR);
        market = newTrading(money);
        VM.startPrank(alice);
        token.approve(address(market), 1e18);
        market.createSellOrder(1e18, 200_000, 1 hours);
        VM.stopPrank();
    }

    function _depositWith(OddToken money, uint256 amount) private {
        odd = newLedger(address(money));
        money.mint(address(this), 10 * amount);
        money.approve(address(odd), type(uint256).max);
        odd.deposit(amount);
    }

    function _money(address account) private view returns (uint256 moneyMicro) {
        (, moneyMicro,,) = odd.accountOf(account);
    }

    function _wasLockedOut(CallbackToken money) private view {
        VM.assertEq(
            bytes32(bytes4(money.answer())),
            bytes32(bytes4(keccak256("ReentrancyGuardReentrantCall()"))),
            "the second entry was refused"
        );
    }
}
