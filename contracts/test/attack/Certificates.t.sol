// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {EnergyToken} from "../../src/EnergyToken.sol";
import {ICertificates} from "../../src/interfaces/ICertificates.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Certificate, CertificateLibrary} from "../../src/types/Certificate.sol";
import {MixLibrary} from "../../src/types/Mix.sol";
import {Certifying} from "../base/Certifying.sol";
import {VM} from "../base/Vm.sol";

/// @title CertificateAttacks: counting the same energy twice
contract CertificateAttacks is Certifying {
    /* CLAIMS */

    function testAttackDoubleClaim() external {
        uint256 id = mintSolar(1000);
        claim(alice, id, 1000);
        _expectInsufficient(alice, 0, 1, id);
        claim(alice, id, 1);
    }

    function testAttackSellingTheClaimed() external {
        uint256 id = mintSolar(1000);
        claim(alice, id, 900);
        _expectInsufficient(alice, 100, 101, id);
        VM.prank(alice);
        certificates.transfer(bob, id, 101);
    }

    function testAttackClaimOfForeign() external {
        uint256 id = mintSolar(1000);
        _expectInsufficient(bob, 0, 1, id);
        claim(bob, id, 1);
        VM.prank(alice);
        certificates.approve(bob, id, 1000); // may move them, still not claim them where they are
        _expectInsufficient(bob, 0, 1, id);
        claim(bob, id, 1);
    }

    function testAttackClaimOfConsumed() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        discharge(alice, 600, id, 700);
        _expectInsufficient(alice, 300, 301, id);
        claim(alice, id, 301);
    }

    function testAttackClaimOfTheNeverIssued() external {
        uint256 id = mintSolar(1000);
        _expectInsufficient(alice, 0, 1, id + 1);
        claim(alice, id + 1, 1);
    }

    /// @dev Only the low 48 bits are counted: what cannot be held cannot be claimed either.
    function testAttackClaimBeyondTheField() external {
        uint256 id = mintSolar(1000);
        uint256 energyWh = (1 << 48) + 1;
        _expectInsufficient(alice, 1000, energyWh, id);
        claim(alice, id, energyWh);
    }

    /* STORAGE */

    function testAttackChargeTwice() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        discharge(alice, 500, id, 600);
        _expectInsufficient(alice, 400, 600, id);
        discharge(alice, 500, id, 600);
    }

    function testAttackChargeTwiceInOneCall() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        _expectInsufficient(alice, 400, 600, id);
        discharge(alice, 1000, two(id, id), two(600, 600));
    }

    function testAttackChargeWithClaimed() external {
        uint256 id = mintSolar(1000);
        claim(alice, id, 700);
        waitAnInterval();
        allowCharging(alice);
        _expectInsufficient(alice, 300, 301, id);
        discharge(alice, 301, id, 301);
    }

    function testAttackChargeWithForeign() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        allowCharging(bob);
        _expectInsufficient(bob, 0, 100, id);
        discharge(bob, 100, id, 100);
    }

    function testAttackChargeWithItself() external {
        mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        uint256 coming = Certificate.unwrap(
            CertificateLibrary.pack(
                deviceOf(METER), START + INTERVAL_S, INTERVAL_S, Sources.STORAGE, 1, true, 100
            )
        );
        _expectInsufficient(alice, 0, 100, coming);
        discharge(alice, 100, coming, 100);
    }

    /// @dev The oracle takes no certificate that its owner did not set aside.
    function testAttackChargeWithoutConsent() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        bytes4 why = ERC6909.ERC6909InsufficientAllowance.selector;
        VM.expectRevert(abi.encodeWithSelector(why, address(token), 0, 1000, id));
        discharge(alice, 1, id, 1000);
        VM.prank(alice);
        certificates.approve(address(token), id, 500);
        VM.expectRevert(abi.encodeWithSelector(why, address(token), 500, 501, id));
        discharge(alice, 1, id, 501);
        discharge(alice, 400, id, 400);
        VM.expectRevert(abi.encodeWithSelector(why, address(token), 100, 101, id));
        discharge(alice, 1, id, 101);
    }

    /// @dev A sum of more than 48 bits must not run into the next source's field.
    function testAttackMixOverflow() external {
        uint256 most = type(uint48).max;
        uint256[] memory ids = two(_id(Sources.SOLAR, 1, most), _id(Sources.SOLAR, 2, most));
        VM.startPrank(address(token));
        certificates.issue(alice, ids[0]);
        certificates.issue(alice, ids[1]);
        VM.stopPrank();
        allowCharging(alice);
        VM.startPrank(address(token));
        VM.expectRevert(abi.encodeWithSelector(MixLibrary.MixTooLarge.selector, most + 1));
        certificates.issueStored(alice, _id(Sources.STORAGE, 3, 1), ids, two(most, 1));
        uint256 stored = _id(Sources.STORAGE, 3, most);
        certificates.issueStored(alice, stored, ids, two(most - 1, 1));
        (uint256 solar, uint256 wind,,,) = certificates.mixOf(stored);
        VM.assertEq(solar, most, "all of it");
        VM.assertEq(wind, 0, "nothing ran over");
        VM.assertEq(certificates.carbonCredits(stored, most), most * 449 / 1000, "no overflow");
    }

    /* ISSUE */

    /// @dev Also what an accidental twin of a device's 120 bits would do.
    function testAttackDoubleIssue() external {
        uint256 id = mintSolar(1000);
        bytes memory why = abi.encodeWithSelector(ICertificates.CertificateExists.selector, id);
        allowCharging(alice);
        VM.startPrank(address(token));
        VM.expectRevert(why);
        certificates.issue(bob, id);
        VM.expectRevert(why);
        certificates.issueStored(alice, id, one(id), one(1000));
        VM.stopPrank();
        claim(alice, id, 1000);
        VM.prank(address(token));
        VM.expectRevert(why); // also when nobody holds it any more
        certificates.issue(alice, id);
    }

    function testAttackDoubleMint() external {
        uint256 first = mintSolar(CAP_WH);
        VM.expectRevert(
            abi.encodeWithSelector(EnergyToken.MintAboveCap.selector, alice, CAP_WH + 1, CAP_WH)
        );
        mint(alice, Sources.WIND, 1); // another source is the same meter
        waitAnInterval();
        VM.assertTrue(mintSolar(CAP_WH) != first, "its own certificate");
    }

    /// @dev The interval that ended last, to the second: no second is in two certificates.
    function testAttackOverlappingIntervals() external {
        uint256 boundary = START + 2 * INTERVAL_S;
        for (uint256 time = boundary - 1; time <= boundary + 1; ++time) {
            VM.warp(time);
            Certificate id = Certificate.wrap(mintSolar(1));
            uint256 start = time < boundary ? START : START + INTERVAL_S;
            VM.assertEq(id.intervalStart(), start, "the one before");
            VM.assertEq(id.durationS(), INTERVAL_S, "whole");
            VM.assertGe(time, id.intervalStart() + id.durationS(), "is over");
        }
    }

    function testAttackMintOfACancelledOrSettledInterval() external {
        fund(bob);
        settle(START, trade(10));
        _expectUsed();
        mintSolar(10);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountIntervalUsed.selector, alice));
        VM.prank(oracle);
        token.mintStoredEnergy(alice, WH, one(0), one(1));
        VM.prank(alice);
        ledger.cancelInterval(START + 2 * INTERVAL_S);
        VM.warp(START + 3 * INTERVAL_S);
        _expectUsed();
        mintSolar(10);
    }

    /// @dev A meter that takes another's place gives its account no second cap.
    function testAttackSecondMeterForMoreEnergy() external {
        mintSolar(CAP_WH);
        register(METER + 2, ALICE);
        VM.expectRevert(
            abi.encodeWithSelector(EnergyToken.MintAboveCap.selector, alice, CAP_WH + 1, CAP_WH)
        );
        mintSolar(1);
    }

    /* HELP */

    function _id(uint8 source, uint256 serial, uint256 energyWh) private pure returns (uint256) {
        return Certificate.unwrap(
            CertificateLibrary.pack(
                deviceOf(METER), START, INTERVAL_S, source, serial, false, energyWh
            )
        );
    }

    function _expectInsufficient(address owner, uint256 heldWh, uint256 neededWh, uint256 id)
        private
    {
        VM.expectRevert(
            abi.encodeWithSelector(
                ERC6909.ERC6909InsufficientBalance.selector, owner, heldWh, neededWh, id
            )
        );
    }

    function _expectUsed() private {
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountIntervalUsed.selector, alice));
    }
}
