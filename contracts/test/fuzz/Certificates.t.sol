// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyToken} from "../../src/EnergyToken.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Certificate} from "../../src/types/Certificate.sol";
import {Mix, MixLibrary} from "../../src/types/Mix.sol";
import {Certifying} from "../base/Certifying.sol";
import {VM} from "../base/Vm.sol";

/// @title CertificatesFuzz: conservation of certificates, and exactness of mixes and carbon
contract CertificatesFuzz is Certifying {
    uint256 private constant STEPS = 24;

    address[3] private members;
    uint256[] private ids;
    uint256 private producedWh;
    uint256 private returnedWh;

    function setUp() public override {
        super.setUp();
        members = [alice, bob, carol];
        allowCharging(alice);
        allowCharging(bob);
    }

    /// @dev Whatever is minted, sent, claimed and stored: of each certificate, held + claimed + stored
    /// is what was issued; storage never gives back more than it got; and no energy is claimed that was
    /// not produced.
    /// forge-config: default.fuzz.runs = 100
    function testFuzzConservation(uint256 seed) external {
        for (uint256 step; step < STEPS; ++step) {
            uint256 dice = uint256(keccak256(abi.encode(seed, step)));
            _act(dice);
            if (dice >> 250 > 40) waitAnInterval();
        }
        uint256 claimedWh;
        uint256 storedWh;
        for (uint256 i; i < ids.length; ++i) {
            _checkCertificate(ids[i]);
            claimedWh += certificates.claimedTotal(ids[i]);
            storedWh += certificates.storedTotal(ids[i]);
        }
        VM.assertGe(storedWh, returnedWh, "storage made energy");
        VM.assertGe(producedWh, claimedWh, "claimed more than produced");
        VM.assertEq(ledger.energyWhTotal(), producedWh + returnedWh, "one certificate per Wh");
    }

    /// @dev The steps above do each thing: the checks are not empty.
    function testTheStepsDoEverything() external {
        for (uint256 seed; seed < 3; ++seed) {
            this.testFuzzConservation(seed);
        }
        uint256 claimedWh;
        uint256 resoldWh;
        for (uint256 i; i < ids.length; ++i) {
            claimedWh += certificates.claimedTotal(ids[i]);
            resoldWh += certificates.balanceOf(carol, ids[i]); // who produces nothing
        }
        VM.assertGe(claimedWh, 1, "nothing was claimed");
        VM.assertGe(resoldWh, 1, "nothing was sent");
        VM.assertGe(returnedWh, 1, "nothing was stored");
    }

    /// @dev Parts of a certificate never avoid more than the whole, and less by under a gram a part.
    function testFuzzCarbonOfParts(uint48 first, uint48 second, uint48 third, uint48 cut)
        external
        pure
    {
        Mix mix = MixLibrary.single(Sources.SOLAR, first / 3)
            .plus(MixLibrary.single(Sources.BIOMASS, second / 3))
            .plus(MixLibrary.single(Sources.STORAGE, third / 3));
        uint256 total = mix.totalWh();
        if (total == 0) return;
        uint256 part = uint256(cut) % (total + 1);
        uint256 whole = mix.avoidedG(total);
        uint256 parts = mix.avoidedG(part) + mix.avoidedG(total - part);
        VM.assertGe(whole, parts, "parts give more");
        VM.assertGe(parts + 1, whole, "parts lose a gram");
        VM.assertEq(whole, (uint256(first / 3) * 449 + uint256(second / 3) * 260) / 1000, "exact");
    }

    /// @dev A part of a mix is whole Wh that sum to it, each source within one Wh of its share and
    /// never above it.
    function testFuzzPartOfAMix(uint48[5] calldata energies, uint48 cut) external pure {
        Mix mix = _mixOf(energies);
        uint256 total = mix.totalWh();
        if (total == 0) return;
        uint256 wh = uint256(cut) % (total + 1);
        Mix part = mix.part(wh);
        VM.assertEq(part.totalWh(), wh, "sums up");
        for (uint8 source = Sources.SOLAR; source < Sources.STORAGE; ++source) {
            uint256 exact = wh * mix.energyWh(source); // x total
            VM.assertGe(exact, part.energyWh(source) * total, "not above its share");
            VM.assertGe((part.energyWh(source) + 1) * total, exact + 1, "within one Wh");
        }
        if (wh == 0) return;
        VM.assertGe(mix.avoidedG(wh), part.avoidedG(wh), "avoids no more than its share");
        if (wh == total) VM.assertEq(Mix.unwrap(part), Mix.unwrap(mix), "the whole is itself");
    }

    function testFuzzMixFields(uint48[5] calldata energies) external pure {
        Mix mix = _mixOf(energies);
        uint256 total;
        for (uint8 i; i < 5; ++i) {
            VM.assertEq(mix.energyWh(i + 1), energies[i] / 5, "field");
            total += energies[i] / 5;
        }
        VM.assertEq(mix.totalWh(), total, "total");
    }

    function testFuzzMixesAdd(uint48[5] calldata first, uint48[5] calldata second) external pure {
        Mix a = _mixOf(first);
        Mix b = _mixOf(second);
        if (a.totalWh() + b.totalWh() > type(uint48).max) return;
        Mix sum = a.plus(b);
        for (uint8 source = Sources.SOLAR; source <= Sources.STORAGE; ++source) {
            VM.assertEq(sum.energyWh(source), a.energyWh(source) + b.energyWh(source), "field");
        }
    }

    /* WHAT HAPPENS */

    function _act(uint256 dice) private {
        uint256 kind = dice % 5;
        dice >>= 3;
        if (kind == 0 || ids.length == 0) _actMint(dice);
        else if (kind == 1) _actSend(dice);
        else if (kind == 2) _actClaim(dice);
        else _actDischarge(dice);
    }

    function _actMint(uint256 dice) private {
        uint256 energyWh = 1 + dice % (CAP_WH / 4);
        VM.prank(oracle);
        try token.mintEnergyTokens(
            members[(dice >> 16) % 2], energyWh * WH, uint8(1 + (dice >> 32) % 5)
        ) returns (
            uint256 id
        ) {
            ids.push(id);
            producedWh += energyWh;
        } catch (bytes memory why) {
            _expectCap(why);
        }
    }

    function _actSend(uint256 dice) private {
        (address from, uint256 id, uint256 energyWh) = _pick(dice);
        VM.prank(from);
        certificates.transfer(members[(dice >> 128) % 3], id, energyWh);
    }

    function _actClaim(uint256 dice) private {
        (address owner, uint256 id, uint256 energyWh) = _pick(dice);
        if (energyWh == 0) return;
        VM.prank(owner);
        certificates.claim(id, energyWh, members[(dice >> 128) % 3], "");
    }

    /// @dev Storage gives back at most what it was charged with, from two of the producer's certificates.
    function _actDischarge(uint256 dice) private {
        uint256 first = ids[dice % ids.length];
        uint256 second = ids[(dice >> 32) % ids.length];
        address producer = members[(dice >> 64) % 2];
        uint256 firstWh = certificates.balanceOf(producer, first);
        uint256 secondWh = first == second ? 0 : certificates.balanceOf(producer, second);
        if (firstWh == 0 || secondWh == 0) return;
        firstWh = 1 + (dice >> 96) % firstWh;
        secondWh = 1 + (dice >> 128) % secondWh;
        uint256 energyWh = 1 + (dice >> 160) % (firstWh + secondWh);
        VM.prank(oracle);
        try token.mintStoredEnergy(
            producer, energyWh * WH, two(first, second), two(firstWh, secondWh)
        ) returns (
            uint256 id
        ) {
            ids.push(id);
            returnedWh += energyWh;
            VM.assertEq(_totalOf(id), firstWh + secondWh, "the mix is what was charged");
        } catch (bytes memory why) {
            _expectCap(why);
        }
    }

    /* HELP */

    function _expectCap(bytes memory why) private pure {
        VM.assertTrue(bytes4(why) == EnergyToken.MintAboveCap.selector, "only the cap refuses");
    }

    function _pick(uint256 dice) private view returns (address owner, uint256 id, uint256 wh) {
        owner = members[dice % 3];
        id = ids[(dice >> 32) % ids.length];
        wh = (dice >> 64) % (certificates.balanceOf(owner, id) + 1);
    }

    function _checkCertificate(uint256 id) private view {
        uint256 heldWh;
        uint256 claimedWh;
        for (uint256 i; i < members.length; ++i) {
            heldWh += certificates.balanceOf(members[i], id);
            claimedWh += certificates.claimedOf(members[i], id);
        }
        uint256 issuedWh = Certificate.wrap(id).energyWh();
        VM.assertEq(claimedWh, certificates.claimedTotal(id), "claims");
        VM.assertEq(heldWh, certificates.totalSupply(id), "held");
        VM.assertEq(heldWh + claimedWh + certificates.storedTotal(id), issuedWh, "conserved");
        VM.assertGe(_totalOf(id), issuedWh, "the mix is no less than the energy");
    }

    function _totalOf(uint256 id) private view returns (uint256) {
        (uint256 solar, uint256 wind, uint256 hydro, uint256 biomass, uint256 unknown) =
            certificates.mixOf(id);
        return solar + wind + hydro + biomass + unknown;
    }

    function _mixOf(uint48[5] calldata energies) private pure returns (Mix mix) {
        for (uint8 i; i < 5; ++i) {
            mix = mix.plus(MixLibrary.single(i + 1, energies[i] / 5));
        }
    }
}
