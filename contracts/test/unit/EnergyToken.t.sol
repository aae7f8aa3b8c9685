// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {EnergyToken} from "../../src/EnergyToken.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {IEnergyToken} from "../../src/interfaces/IEnergyToken.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Certificate} from "../../src/types/Certificate.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Certifying} from "../base/Certifying.sol";
import {VM} from "../base/Vm.sol";

/// @title EnergyTokenTest: the ERC-20 face, minting with its cap, and ids
contract EnergyTokenTest is Certifying {
    event Transfer(address indexed from, address indexed to, uint256 value);

    /* ERC-20 */

    function testDescribesItself() external view {
        VM.assertEq(token.name(), "Energy Trade kWh", "name");
        VM.assertEq(token.symbol(), "kWh", "symbol");
        VM.assertEq(uint256(token.decimals()), 18, "decimals");
    }

    function testShowsTheLedger() external {
        fund(bob);
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 2500;
        settle(START, orders);
        VM.assertEq(token.balanceOf(alice), 1e18, "1 kWh left");
        VM.assertEq(token.totalSupply(), 1e18, "in all");
    }

    function testTransfers() external {
        mintSolar(1000);
        VM.expectEmit(address(token));
        emit Transfer(alice, bob, 400 * WH);
        VM.prank(alice);
        VM.assertTrue(token.transfer(bob, 400 * WH), "moved");
        VM.assertEq(energyOf(alice), 600, "alice");
        VM.assertEq(energyOf(bob), 400, "bob");
        VM.prank(bob);
        VM.assertTrue(token.transferEnergy(bob, carol, 100 * WH), "moved by the owner");
        VM.assertEq(energyOf(carol), 100, "carol");
        VM.assertEq(token.totalSupply(), 1000 * WH, "supply stays");
    }

    function testTransferToOneself() external {
        mintSolar(10);
        VM.prank(alice);
        token.transfer(alice, 10 * WH);
        VM.assertEq(energyOf(alice), 10, "unchanged");
    }

    function testOthersNeedAnAllowance() external {
        mintSolar(1000);
        bytes memory why = abi.encodeWithSignature(
            "ERC20InsufficientAllowance(address,uint256,uint256)", bob, 0, WH
        );
        VM.startPrank(bob);
        VM.expectRevert(why);
        token.transferEnergy(alice, bob, WH);
        VM.expectRevert(why);
        token.transferFrom(alice, bob, WH);
        VM.expectRevert(why);
        token.burnEnergyTokens(alice, WH);
        VM.stopPrank();
        VM.prank(alice);
        token.approve(bob, 3 * WH);
        VM.startPrank(bob);
        token.transferEnergy(alice, bob, WH);
        token.transferFrom(alice, bob, WH);
        token.burnEnergyTokens(alice, WH);
        VM.assertEq(token.allowance(alice, bob), 0, "used up");
    }

    function testPermit() external {
        mintSolar(1000);
        bytes32 permit = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                alice,
                bob,
                WH,
                0,
                block.timestamp
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), permit));
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(ALICE, digest);
        token.permit(alice, bob, WH, block.timestamp, v, r, s);
        VM.assertEq(token.allowance(alice, bob), WH, "allowed");
    }

    function testRefusesParts() external {
        mintSolar(2);
        VM.startPrank(alice);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.AmountNotWholeWh.selector, WH - 1));
        token.transfer(bob, WH - 1);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.AmountNotWholeWh.selector, WH + 1));
        token.burnEnergyTokens(alice, WH + 1);
    }

    function testRefusesMoreThanHeld() external {
        mintSolar(1);
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.AccountEnergyInsufficient.selector, alice, 1, 2);
        VM.startPrank(alice);
        VM.expectRevert(why);
        token.transfer(bob, 2 * WH);
        VM.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, alice, WH, 2 * WH
            )
        );
        token.burnEnergyTokens(alice, 2 * WH);
    }

    function testBurns() external {
        mintSolar(1000);
        VM.prank(alice);
        VM.assertTrue(token.burnEnergyTokens(alice, 400 * WH), "burned");
        VM.assertEq(energyOf(alice), 600, "the rest");
        VM.assertEq(ledger.energyWhTotal(), 600, "supply");
    }

    /* MINTING */

    function testOnlyTheOracleMints() external {
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", operator));
        VM.prank(operator);
        token.mintEnergyTokens(alice, WH, Sources.SOLAR);
    }

    function testMintCapsAtThePowerLimit() external {
        mintSolar(CAP_WH - 1);
        VM.expectRevert(
            abi.encodeWithSelector(EnergyToken.MintAboveCap.selector, alice, CAP_WH + 1, CAP_WH)
        );
        mintSolar(2);
        mintSolar(1);
        VM.warp(block.timestamp + INTERVAL_S);
        mintSolar(CAP_WH);
        VM.assertEq(energyOf(alice), 2 * CAP_WH, "two intervals' most");
    }

    function testMintAndSettlementExcludeEachOther() external {
        fund(bob);
        mintSolar(10); // for START, which ended last
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountIntervalUsed.selector, alice));
        ledger.settleBatch(START, 0, 0, rows);
        VM.warp(START + 2 * INTERVAL_S);
        settle(START + INTERVAL_S, trade(10));
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountIntervalUsed.selector, alice));
        mintSolar(10);
    }

    function testMintRefusals() external {
        VM.startPrank(oracle);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.SourceUnknown.selector, 0));
        token.mintEnergyTokens(alice, WH, 0);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.SourceUnknown.selector, 6));
        token.mintEnergyTokens(alice, WH, 6);
        VM.expectRevert(EnergyToken.AmountZero.selector);
        token.mintEnergyTokens(alice, 0, Sources.SOLAR);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.AmountNotWholeWh.selector, 1));
        token.mintEnergyTokens(alice, 1, Sources.SOLAR);
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.ProducerWithoutMeter.selector, carol));
        token.mintEnergyTokens(carol, WH, Sources.SOLAR);
    }

    function testRevokedMeterMintsNoMore() external {
        VM.prank(alice);
        registry.revokeMeter(deviceOf(METER));
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.ProducerWithoutMeter.selector, alice));
        mintSolar(1);
    }

    /* CERTIFICATES */

    function testTheIdIsTheCertificate() external {
        uint256 first = mintSolar(1000);
        uint256 second = mintSolar(1000);
        VM.assertTrue(first != second, "each its own");
        Certificate id = Certificate.wrap(first);
        VM.assertEq(id.device(), deviceOf(METER) >> 136, "device");
        VM.assertEq(id.intervalStart(), START, "start");
        VM.assertEq(id.durationS(), INTERVAL_S, "duration");
        VM.assertEq(uint256(id.source()), Sources.SOLAR, "source");
        VM.assertEq(id.serial(), 1, "serial");
        VM.assertFalse(id.isStored(), "not from storage");
        VM.assertEq(id.energyWh(), 1000, "energy");
        VM.assertEq(Certificate.wrap(second).serial(), 2, "next serial");
    }

    function testEnergyUnitReadsTheId() external {
        IEnergyToken.EnergyUnit memory unit = token.energyUnit(mintSolar(1000));
        VM.assertEq(unit.timestamp, START, "start");
        VM.assertEq(unit.amount, 1e18, "1 kWh");
        VM.assertEq(uint256(unit.sourceType), Sources.SOLAR, "source");
        VM.assertEq(unit.carbonCredits, 449, "490 - 41 g");
    }
}
