// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {EnergyToken} from "../../src/EnergyToken.sol";
import {IERC7943Fungible} from "../../src/interfaces/IERC7943.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {AccountWordLibrary} from "../../src/types/AccountWord.sol";
import {Certifying} from "../base/Certifying.sol";
import {Babbler, CallbackRules, Grudger, HouseRules, Mumbler} from "../base/HouseRules.sol";
import {VM, Vm} from "../base/Vm.sol";

/// @title EnergyTokenRulesTest: the ERC-7943 face: who may move energy, freezing and forced transfers
contract EnergyTokenRulesTest is Certifying {
    event Transfer(address indexed from, address indexed to, uint256 value);

    HouseRules private rules;

    function setUp() public override {
        super.setUp();
        rules = new HouseRules(ledger);
        ledger.setCompliance(address(rules), false);
        mintSolar(1000);
    }

    /* TRANSFERS */

    function testTransfersObeyCompliance() external {
        _approveBob();
        _expectTransfersPass();
        rules.bar(alice, true, false);
        VM.assertFalse(token.canSend(alice), "may not send");
        VM.assertTrue(token.canReceive(alice), "may receive");
        _expectTransfersFail(_cannotSend(alice));
        rules.bar(alice, false, false);
        rules.bar(carol, false, true);
        VM.assertTrue(token.canSend(carol), "may send");
        VM.assertFalse(token.canReceive(carol), "may not receive");
        _expectTransfersFail(_cannotReceive(carol));
        rules.bar(carol, true, false);
        _expectTransfersPass();
        rules.setMost(WH - 1);
        _expectTransfersFail(_cannotTransfer(alice, carol, WH));
    }

    function testFlagsOfTheLedgerCount() external {
        rules.setFlags(alice, uint8(AccountWordLibrary.NO_SEND));
        rules.setFlags(carol, uint8(AccountWordLibrary.NO_RECEIVE));
        ledger.setCompliance(address(0), false); // the flags stay, and batches heed them too
        VM.assertFalse(token.canSend(alice), "may not send");
        VM.assertTrue(token.canReceive(alice), "may receive");
        VM.assertTrue(token.canSend(carol), "may send");
        VM.assertFalse(token.canReceive(carol), "may not receive");
        VM.assertFalse(token.canTransfer(alice, bob, WH), "from her");
        VM.assertFalse(token.canTransfer(bob, carol, WH), "to her");
        VM.startPrank(alice);
        VM.expectRevert(_cannotSend(alice));
        token.transfer(bob, WH);
        VM.expectRevert(_cannotSend(alice));
        token.burnEnergyTokens(alice, WH);
        VM.stopPrank();
        VM.prank(bob);
        VM.expectRevert(_cannotReceive(carol));
        token.transfer(carol, 0);
    }

    function testBlockedAccountsBurnNothing() external {
        rules.bar(alice, true, false);
        VM.prank(alice);
        VM.expectRevert(_cannotSend(alice));
        token.burnEnergyTokens(alice, WH);
    }

    function testBlockedAccountsGetNoMint() external {
        uint256 id = mintSolar(1);
        allowCharging(alice);
        rules.bar(alice, false, true);
        VM.expectRevert(_cannotReceive(alice));
        mintSolar(1);
        VM.expectRevert(_cannotReceive(alice));
        discharge(alice, 1, id, 1);
        VM.assertEq(certificates.balanceOf(alice, id), 1, "nothing was used up");
        rules.bar(alice, true, false); // who may not send still produces
        mintSolar(1);
    }

    function testNoComplianceNoRules() external {
        ledger.setCompliance(address(0), false);
        VM.assertTrue(token.canSend(alice), "sends");
        VM.assertTrue(token.canReceive(carol), "receives");
        VM.assertTrue(token.canTransfer(alice, carol, 1000 * WH), "moves");
        VM.assertEq(token.getFrozenTokens(alice), 0, "nothing frozen");
        VM.prank(complianceOfficer);
        VM.expectRevert(EnergyToken.ComplianceAbsent.selector);
        token.setFrozenTokens(alice, WH);
        VM.prank(complianceOfficer);
        token.forcedTransfer(alice, carol, WH);
        VM.assertEq(energyOf(carol), 1, "still possible");
    }

    /// @dev ERC-7943: the views never revert. No answer allows nothing, and names the account.
    function testComplianceThatFailsAllowsNothing() external {
        rules.breakDown();
        _checkNothingAllowed();
    }

    function testComplianceThatBabblesAllowsNothing() external {
        ledger.setCompliance(address(new Babbler()), false);
        _checkNothingAllowed();
    }

    function testAFailureIsNoAnswer() external {
        ledger.setCompliance(address(new Grudger()), false);
        _checkNothingAllowed();
    }

    function testOnlyTrueIsTrue() external {
        ledger.setCompliance(address(new Mumbler()), false);
        VM.assertFalse(token.canSend(alice), "sends");
        VM.assertFalse(token.canReceive(alice), "receives");
        VM.assertFalse(token.canTransfer(alice, carol, WH), "moves");
    }

    function testABrokenComplianceTrapsNoMoney() external {
        fund(alice);
        rules.breakDown();
        VM.startPrank(alice);
        ledger.requestWithdrawal(PURSE_MICRO);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        ledger.withdraw(PURSE_MICRO, alice);
        VM.assertEq(currency.balanceOf(alice), PURSE_MICRO, "out");
    }

    /* FREEZING */

    function testFrozenEnergyStays() external {
        _freeze(alice, 400 * WH);
        VM.assertTrue(token.canTransfer(alice, carol, 600 * WH), "the rest");
        VM.assertFalse(token.canTransfer(alice, carol, 601 * WH), "no more");
        bytes memory why = _frozen(alice, 601 * WH, 600 * WH);
        VM.startPrank(alice);
        VM.expectRevert(why);
        token.transfer(carol, 601 * WH);
        VM.expectRevert(why);
        token.burnEnergyTokens(alice, 601 * WH);
        token.transfer(carol, 300 * WH);
        token.burnEnergyTokens(alice, 300 * WH);
        VM.expectRevert(_frozen(alice, WH, 0));
        token.burnEnergyTokens(alice, WH);
        VM.stopPrank();
        _freeze(alice, 0);
        VM.prank(alice);
        token.transfer(carol, 400 * WH);
    }

    function testFreezesMoreThanHeld() external {
        _freeze(alice, 5000 * WH);
        VM.assertEq(token.getFrozenTokens(alice), 5000 * WH, "for what comes");
        VM.startPrank(alice);
        VM.expectRevert(_frozen(alice, WH, 0));
        token.transfer(carol, WH);
        VM.expectRevert(_tooLittle(alice, 1000 * WH, 1001 * WH));
        token.transfer(carol, 1001 * WH); // more than held is ERC-20's own error
        VM.expectRevert(_tooLittle(alice, 1000 * WH, 1001 * WH));
        token.burnEnergyTokens(alice, 1001 * WH);
    }

    /* FORCED TRANSFERS */

    function testForcedTransferTakesTheFreeFirst() external {
        _freeze(alice, 400 * WH);
        _force(alice, carol, 600 * WH);
        VM.assertEq(token.getFrozenTokens(alice), 400 * WH, "still frozen");
        _force(alice, carol, 100 * WH);
        VM.assertEq(token.getFrozenTokens(alice), 300 * WH, "less what was taken");
        VM.assertEq(energyOf(alice), 300, "alice");
        VM.assertEq(energyOf(carol), 700, "carol");
        VM.assertEq(token.totalSupply(), 1000 * WH, "conserved");
    }

    function testForcedTransferOfFreeAndFrozenTogether() external {
        _freeze(alice, 400 * WH);
        _force(alice, carol, 700 * WH);
        VM.assertEq(token.getFrozenTokens(alice), 300 * WH, "less the 100 that were frozen");
        VM.assertEq(energyOf(alice), 300, "all of it frozen");
    }

    function testForcedTransferKeepsWhatIsWithheld() external {
        _freeze(alice, 1500 * WH);
        _force(alice, carol, 200 * WH);
        VM.assertEq(token.getFrozenTokens(alice), 1300 * WH, "500 of what comes still");
    }

    /// @dev ERC-7943: unfreeze, then move, and say so in this order.
    function testForcedTransferSaysWhatItDoes() external {
        _freeze(alice, 1000 * WH);
        VM.recordLogs();
        _force(alice, carol, 100 * WH);
        Vm.Log[] memory logs = VM.getRecordedLogs();
        VM.assertEq(logs.length, 3, "three events");
        VM.assertEq(logs[0].topics[0], IERC7943Fungible.Frozen.selector, "unfrozen");
        VM.assertEq(abi.decode(logs[0].data, (uint256)), 900 * WH, "the rest");
        VM.assertEq(logs[1].topics[0], Transfer.selector, "moved");
        VM.assertEq(logs[2].topics[0], IERC7943Fungible.ForcedTransfer.selector, "by force");
        VM.assertEq(abi.decode(logs[2].data, (uint256)), 100 * WH, "how much");
    }

    function testForcedTransferOutOfABlockedAccount() external {
        rules.bar(alice, true, true);
        rules.setFlags(alice, uint8(AccountWordLibrary.NO_SEND | AccountWordLibrary.NO_RECEIVE));
        _force(alice, carol, 1000 * WH);
        VM.assertEq(energyOf(carol), 1000, "moved");
    }

    function testForcedTransferRefusals() external {
        rules.bar(carol, false, true);
        VM.startPrank(complianceOfficer);
        VM.expectRevert(_cannotReceive(carol));
        token.forcedTransfer(alice, carol, WH);
        rules.bar(carol, false, false);
        VM.expectRevert(_tooLittle(alice, 1000 * WH, 1001 * WH));
        token.forcedTransfer(alice, carol, 1001 * WH);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.AmountNotWholeWh.selector, WH + 1));
        token.forcedTransfer(alice, carol, WH + 1);
        VM.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0))
        );
        token.forcedTransfer(alice, address(0), WH); // would burn
        VM.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidSender.selector, address(0))
        );
        token.forcedTransfer(address(0), carol, 0); // would mint
    }

    function testOnlyComplianceFreezesAndForces() external {
        address[3] memory others = [operator, oracle, alice];
        for (uint256 i; i < others.length; ++i) {
            bytes memory why =
                abi.encodeWithSignature("AccessManagedUnauthorized(address)", others[i]);
            VM.startPrank(others[i]);
            VM.expectRevert(why);
            token.setFrozenTokens(alice, WH);
            VM.expectRevert(why);
            token.forcedTransfer(alice, others[i], WH);
            VM.stopPrank();
        }
    }

    /// @dev A compliance contract that calls back, with every role that there is.
    function testAttackReentrance() external {
        CallbackRules caller = new CallbackRules(ledger, address(token));
        authority.grantRole(_roleId(".oracle.id"), address(caller), 0);
        authority.grantRole(_roleId(".compliance.id"), address(caller), 0);
        ledger.setCompliance(address(caller), false);
        bytes[4] memory calls = [
            abi.encodeCall(token.mintEnergyTokens, (alice, WH, Sources.SOLAR)),
            abi.encodeCall(token.mintStoredEnergy, (alice, WH, one(0), one(1))),
            abi.encodeCall(token.setFrozenTokens, (alice, 0)),
            abi.encodeCall(token.forcedTransfer, (alice, carol, WH))
        ];
        bytes4 refused = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
        for (uint256 i; i < calls.length; ++i) {
            caller.callBack(calls[i]);
            _freeze(alice, 1000 * WH);
            VM.assertEq(bytes32(caller.answer()), bytes32(refused), "while freezing");
            _force(alice, bob, WH);
            VM.assertEq(bytes32(caller.answer()), bytes32(refused), "while moving");
        }
        VM.assertEq(energyOf(bob), 4, "moved once each time");
    }

    /* THE REAL COMPLIANCE */

    function testWithTheRealCompliance() external {
        ledger.setCompliance(address(compliance), false);
        _expectRealFreeze();
        _block(alice, true, false);
        VM.prank(alice);
        VM.expectRevert(_cannotSend(alice));
        token.transfer(carol, WH);
        _block(alice, false, false);
        _block(carol, false, true);
        VM.prank(alice);
        VM.expectRevert(_cannotReceive(carol));
        token.transfer(carol, WH);
        _block(carol, false, false);
        VM.prank(alice);
        token.transfer(carol, WH);
        VM.assertEq(energyOf(carol), 601, "moved in the end");
    }

    function testInterfaces() external view {
        VM.assertTrue(type(IERC7943Fungible).interfaceId == bytes4(0x3edbb4c4), "the final one");
        VM.assertTrue(token.supportsInterface(0x3edbb4c4), "ERC-7943");
        VM.assertTrue(token.supportsInterface(0x01ffc9a7), "ERC-165");
        VM.assertFalse(token.supportsInterface(0xffffffff), "none");
    }

    /* HELP */

    function _roleId(string memory key) private view returns (uint64) {
        return uint64(VM.parseJsonUint(VM.readFile("roles.json"), key));
    }

    function _freeze(address account, uint256 amount) private {
        VM.expectEmit(address(token));
        emit IERC7943Fungible.Frozen(account, amount);
        VM.prank(complianceOfficer);
        VM.assertTrue(token.setFrozenTokens(account, amount), "frozen");
    }

    function _force(address from, address to, uint256 amount) private {
        VM.prank(complianceOfficer);
        VM.assertTrue(token.forcedTransfer(from, to, amount), "moved");
    }

    function _block(address account, bool sending, bool receiving) private {
        VM.prank(complianceOfficer);
        compliance.setBlocked(account, sending, receiving);
    }

    function _approveBob() private {
        VM.prank(alice);
        token.approve(bob, type(uint256).max);
    }

    /// @dev One Wh from Alice to Carol, on each way that there is.
    function _expectTransfersPass() private {
        VM.assertTrue(token.canTransfer(alice, carol, WH), "can");
        VM.prank(alice);
        token.transfer(carol, WH);
        VM.startPrank(bob);
        token.transferFrom(alice, carol, WH);
        token.transferEnergy(alice, carol, WH);
        VM.stopPrank();
    }

    function _expectTransfersFail(bytes memory why) private {
        VM.assertFalse(token.canTransfer(alice, carol, WH), "cannot");
        VM.prank(alice);
        VM.expectRevert(why);
        token.transfer(carol, WH);
        VM.startPrank(bob);
        VM.expectRevert(why);
        token.transferFrom(alice, carol, WH);
        VM.expectRevert(why);
        token.transferEnergy(alice, carol, WH);
        VM.stopPrank();
    }

    function _checkNothingAllowed() private {
        VM.assertFalse(token.canSend(alice), "sends");
        VM.assertFalse(token.canReceive(alice), "receives");
        VM.assertFalse(token.canTransfer(alice, carol, WH), "moves");
        VM.assertEq(token.getFrozenTokens(alice), type(uint256).max, "all frozen");
        VM.startPrank(alice);
        VM.expectRevert(_cannotSend(alice));
        token.transfer(carol, WH);
        VM.expectRevert(_cannotSend(alice));
        token.burnEnergyTokens(alice, WH);
        VM.stopPrank();
        VM.expectRevert(_cannotReceive(alice));
        mintSolar(1);
    }

    function _expectRealFreeze() private {
        _freeze(alice, 400 * WH);
        VM.assertEq(compliance.getFrozenTokens(alice), 400 * WH, "kept there");
        VM.startPrank(alice);
        VM.expectRevert(_frozen(alice, 601 * WH, 600 * WH));
        token.transfer(carol, 601 * WH);
        token.transfer(carol, 600 * WH);
        VM.expectRevert(_tooLittle(alice, 400 * WH, 401 * WH));
        token.transfer(carol, 401 * WH);
        VM.stopPrank();
        _force(alice, bob, 300 * WH);
        VM.assertEq(token.getFrozenTokens(alice), 100 * WH, "less what was taken");
        _freeze(alice, 0);
    }

    function _cannotSend(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotSend.selector, account);
    }

    function _cannotReceive(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotReceive.selector, account);
    }

    function _cannotTransfer(address from, address to, uint256 amount)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IERC7943Fungible.ERC7943CannotTransfer.selector, from, to, amount
        );
    }

    function _frozen(address account, uint256 amount, uint256 unfrozen)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IERC7943Fungible.ERC7943InsufficientUnfrozenBalance.selector, account, amount, unfrozen
        );
    }

    function _tooLittle(address account, uint256 balance, uint256 needed)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IERC20Errors.ERC20InsufficientBalance.selector, account, balance, needed
        );
    }
}
