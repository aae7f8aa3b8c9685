// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IComplianceRules} from "../../src/interfaces/IComplianceRules.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {CostlyIdentities, OddIdentities} from "../base/Identities.sol";
import {Regulated} from "../base/Regulated.sol";
import {VM} from "../base/Vm.sol";

/// @dev A compliance contract that does the worst it can: refuse all, and flag whom it likes.
contract HostileCompliance {
    IEnergyLedger private immutable _ledger;

    constructor(IEnergyLedger ledger) {
        _ledger = ledger;
    }

    function flag(address account, uint8 flags) external {
        _ledger.setAccountFlags(account, flags);
    }

    function reach(bytes calldata data) external returns (bool success) {
        (success,) = address(_ledger).call(data);
    }

    fallback() external {
        revert("no");
    }
}

/// @title ComplianceAttacks: who sets the rules gets no money, and whom they bind finds no way round
contract ComplianceAttacks is Regulated {
    /* WHO SETS THE RULES */

    function testEverythingForbiddenStillWithdraws() external {
        enact(true, true, 1, 0);
        compliance.setIdentityRegistry(address(new OddIdentities("", true)));
        block_(bob, true, true);
        freeze(bob, type(uint256).max);
        VM.assertEq(ledgerFlags(bob), 3, "nothing is allowed");
        _leaves(bob);
    }

    function testHostileComplianceHoldsNobody() external {
        HostileCompliance hostile = new HostileCompliance(ledger);
        ledger.setCompliance(address(hostile), true);
        refused(START, trade(1), abi.encodeWithSignature("Error(string)", "no"));
        hostile.flag(bob, type(uint8).max);
        fund(bob);
        _leaves(bob);
    }

    function testHostileComplianceIsReplaced() external {
        HostileCompliance hostile = new HostileCompliance(ledger);
        ledger.setCompliance(address(hostile), true);
        hostile.flag(alice, 1);
        hostile.flag(bob, 2);
        ledger.setCompliance(address(compliance), true);
        compliance.refresh(alice);
        compliance.refresh(bob);
        settle(START, trade(1));
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.ComplianceOnly.selector, address(hostile))
        );
        hostile.flag(alice, 1);
    }

    /// @dev Flags are all that a compliance contract can write; the columns beside them stay.
    function testFlagsTouchNoColumn(uint8 flags, uint64 energyWh) external {
        HostileCompliance hostile = new HostileCompliance(ledger);
        ledger.setCompliance(address(hostile), true);
        VM.prank(address(token));
        ledger.mintEnergy(alice, energyWh % 2 ** 40);
        VM.warp(START - 1);
        VM.prank(alice);
        ledger.cancelInterval(START);
        (uint256 energy, uint256 money, uint256 latest, uint256 used,) = ledger.accountOf(alice);
        hostile.flag(alice, flags);
        (uint256 energy2, uint256 money2, uint256 latest2, uint256 used2, uint256 set) =
            ledger.accountOf(alice);
        VM.assertEq(energy2, energy, "energy");
        VM.assertEq(money2, money, "money");
        VM.assertEq(latest2, latest, "latest interval");
        VM.assertEq(used2, used, "window");
        VM.assertEq(set, flags, "flags");
    }

    function testComplianceReachesNothingElse() external {
        HostileCompliance hostile = new HostileCompliance(ledger);
        ledger.setCompliance(address(hostile), true);
        _unreachable(hostile, abi.encodeCall(ledger.moveEnergy, (alice, bob, 0)));
        _unreachable(hostile, abi.encodeCall(ledger.mintEnergy, (alice, 1)));
        _unreachable(hostile, abi.encodeCall(ledger.burnEnergy, (alice, 0)));
        _unreachable(hostile, abi.encodeCall(ledger.useInterval, (alice, START)));
        _unreachable(hostile, abi.encodeCall(ledger.setPaused, (true)));
        _unreachable(hostile, abi.encodeCall(ledger.setSettler, (alice)));
        _unreachable(hostile, abi.encodeCall(ledger.setCompliance, (alice, false)));
        VM.assertEq(moneyOf(alice), PURSE_MICRO, "all there");
    }

    /* WHOM THEY BIND */

    /// @dev The new year's first settlement must not open the old year's cap again.
    function testLateSettlementDoesNotEscapeTheCap() external {
        enact(false, false, 100, 0);
        settleAt(NEW_YEAR_2028 - 2 * INTERVAL_S, trade(100));
        settleAt(NEW_YEAR_2028, trade(1));
        refused(NEW_YEAR_2028 - INTERVAL_S, trade(1), _exceeded(101));
    }

    /// @dev Nor must the old year's last settlement weigh on the new one's count.
    function testLateSettlementDoesNotResetTheNewYear() external {
        enact(false, false, 100, 0);
        settleAt(NEW_YEAR_2028, trade(100));
        settleAt(NEW_YEAR_2028 - INTERVAL_S, trade(50));
        refused(NEW_YEAR_2028 + INTERVAL_S, trade(1), _exceeded(101));
    }

    /// @dev A purchase between two sales must not hide one of them.
    function testCapCountsSalesAmongPurchases() external {
        enact(false, false, 100, 0);
        TestOrder[] memory orders = new TestOrder[](4);
        for (uint256 i; i < 4; ++i) {
            orders[i] = i % 2 == 0
                ? Batches.sell(ALICE, 51, PRICE, PRICE)
                : Batches.buy(ALICE, 51, PRICE, PRICE);
            orders[i].terms = bytes32(i);
        }
        refused(START, orders, _exceeded(102));
    }

    function testCapAtTheEndOfTheType() external {
        book(START, alice, type(uint48).max);
        VM.assertEq(compliance.salesOf(alice, 2027), type(uint48).max, "the most");
        bytes memory row = Batches.encode(alice, Batches.sell(ALICE, 1, PRICE, PRICE), 0, 0);
        VM.prank(address(ledger));
        VM.expectRevert(
            abi.encodeWithSelector(
                IComplianceRules.AccountSaleCapExceeded.selector,
                alice,
                uint256(2) ** 48,
                type(uint48).max
            )
        );
        compliance.afterBatch(START, row);
    }

    function testAnExpiredLicenceIsNotSavedByAStaleFlag() external {
        enact(false, true, 0, 1 days);
        license(alice, START + INTERVAL_S);
        VM.assertEq(ledgerFlags(alice), 0, "nobody refreshed");
        refused(
            START + INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(
                IComplianceRules.AccountLicenceOver.selector,
                alice,
                START + INTERVAL_S,
                START + 2 * INTERVAL_S
            )
        );
    }

    /* IDENTITY REGISTRIES */

    /// @dev Called with too little gas, the registry fails; that must not count as its answer.
    function testLittleGasUnmakesNoVerification() external {
        CostlyIdentities identities = new CostlyIdentities(3_000_000);
        identities.verify(alice, true);
        compliance.setIdentityRegistry(address(identities));
        compliance.refresh(alice);
        for (uint256 gas = 50_000; gas < 3_200_000; gas += 50_000) {
            (bool success,) =
                address(compliance).call{gas: gas}(abi.encodeCall(compliance.refresh, (alice)));
            VM.assertTrue(
                compliance.memberOf(alice).verifiedIn == compliance.identityGeneration(),
                "still verified"
            );
            VM.assertEq(ledgerFlags(alice), 0, "and free");
            if (success) return;
        }
        VM.assertTrue(false, "enough gas was never reached");
    }

    function testRegistriesThatAnswerNonsenseVouchForNobody() external {
        _vouchesForNobody(new OddIdentities("", false));
        _vouchesForNobody(new OddIdentities("", true));
        _vouchesForNobody(new OddIdentities("\x01", false));
        _vouchesForNobody(new OddIdentities(abi.encode(2), false));
        _vouchesForNobody(new OddIdentities(abi.encode(type(uint256).max), false));
        _vouchesForNobody(new OddIdentities(abi.encode(true), true));
    }

    function testBrokenRegistryUnmakesNoVerification() external {
        compliance.setIdentityRegistry(address(new OddIdentities(abi.encode(true), false)));
        compliance.refresh(alice);
        compliance.refresh(bob);
        VM.etch(compliance.identityRegistry(), hex"5f5ffd"); // revert
        VM.expectRevert();
        compliance.refresh(alice);
        settle(START, trade(1));
        VM.assertFalse(compliance.canSend(alice), "but nothing moves by transfer");
    }

    /* HELPERS */

    function _vouchesForNobody(OddIdentities identities) private {
        compliance.setIdentityRegistry(address(identities));
        VM.assertFalse(compliance.canSend(alice), "may not send");
        VM.assertFalse(compliance.canReceive(alice), "may not receive");
        VM.assertFalse(compliance.canTransfer(alice, bob, 0), "no transfer");
        VM.expectRevert();
        compliance.refresh(alice);
    }

    function _unreachable(HostileCompliance hostile, bytes memory data) private {
        VM.assertFalse(hostile.reach(data), "refused");
    }

    /// @dev Ask, wait and go, with everything.
    function _leaves(address account) private {
        uint256 money = moneyOf(account);
        VM.prank(account);
        ledger.requestWithdrawal(money);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        VM.prank(account);
        ledger.withdraw(money, account);
        VM.assertEq(currency.balanceOf(account), money, "out");
        VM.assertEq(moneyOf(account), 0, "all of it");
    }

    function _exceeded(uint256 soldWh) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IComplianceRules.AccountSaleCapExceeded.selector, alice, soldWh, 100
        );
    }
}
