// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC6909, IERC6909TokenSupply} from "@openzeppelin/contracts/interfaces/IERC6909.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {EnergyToken} from "../../src/EnergyToken.sol";
import {ICertificates} from "../../src/interfaces/ICertificates.sol";
import {IEnergyToken} from "../../src/interfaces/IEnergyToken.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Certificate} from "../../src/types/Certificate.sol";
import {Certifying} from "../base/Certifying.sol";
import {VM, Vm} from "../base/Vm.sol";

/// @title CertificatesTest: holding, claiming, carbon and storage
contract CertificatesTest is Certifying {
    struct Amounts {
        uint256 solar;
        uint256 wind;
        uint256 hydro;
        uint256 biomass;
        uint256 unknown;
    }

    event ClaimSingle(
        address indexed owner,
        address indexed beneficiary,
        uint256 indexed source,
        uint256 id,
        uint256 energyWh,
        bytes purpose
    );
    event Charged(uint256 indexed id, uint256 indexed chargedWith, uint256 energyWh);

    /* ISSUE AND HOLDING */

    function testMintingIssuesToTheProducer() external {
        uint256 id = mintSolar(1000);
        VM.assertTrue(certificates.isIssued(id), "issued");
        VM.assertEq(certificates.balanceOf(alice, id), 1000, "held");
        VM.assertEq(certificates.totalSupply(id), 1000, "in all");
        VM.assertFalse(certificates.isIssued(id + 1), "another energy is another id");
        VM.assertEq(certificates.totalSupply(id + 1), 0, "never issued");
    }

    function testOnlyTheTokenIssues() external {
        bytes memory why = abi.encodeWithSelector(ICertificates.IssuerOnly.selector, oracle);
        VM.startPrank(oracle);
        VM.expectRevert(why);
        certificates.issue(alice, 1);
        VM.expectRevert(why);
        certificates.issueStored(alice, 1, new uint256[](0), new uint256[](0));
    }

    function testMovesInParts() external {
        uint256 id = mintSolar(1000);
        VM.prank(alice);
        certificates.transfer(bob, id, 1);
        VM.prank(alice);
        certificates.approve(carol, id, 300);
        VM.startPrank(carol);
        certificates.transferFrom(alice, bob, id, 299);
        VM.expectRevert(
            abi.encodeWithSelector(ERC6909.ERC6909InsufficientAllowance.selector, carol, 1, 2, id)
        );
        certificates.transferFrom(alice, bob, id, 2);
        VM.stopPrank();
        VM.assertEq(certificates.balanceOf(alice, id), 700, "alice");
        VM.assertEq(certificates.balanceOf(bob, id), 300, "bob");
        VM.assertEq(certificates.totalSupply(id), 1000, "none lost");
    }

    function testTheCertificateMovesApartFromTheEnergy() external {
        uint256 id = mintSolar(1000);
        VM.prank(alice);
        token.transfer(bob, 1000 * WH);
        VM.assertEq(certificates.balanceOf(alice, id), 1000, "stays");
    }

    function testInterfaces() external view {
        VM.assertTrue(certificates.supportsInterface(type(IERC6909).interfaceId), "ERC-6909");
        VM.assertTrue(
            certificates.supportsInterface(type(IERC6909TokenSupply).interfaceId), "its supply"
        );
        VM.assertTrue(certificates.supportsInterface(0x01ffc9a7), "ERC-165");
        VM.assertFalse(certificates.supportsInterface(0xffffffff), "none");
    }

    /* CLAIMS */

    function testClaims() external {
        uint256 id = mintSolar(1000);
        VM.expectEmit(address(certificates));
        emit ClaimSingle(alice, alice, Sources.SOLAR, id, 400, "heat pump, January");
        VM.prank(alice);
        certificates.claim(id, 400, alice, "heat pump, January");
        VM.assertEq(certificates.balanceOf(alice, id), 600, "the rest");
        VM.assertEq(certificates.claimedOf(alice, id), 400, "hers");
        VM.assertEq(certificates.claimedTotal(id), 400, "claimed");
        VM.assertEq(certificates.totalSupply(id), 600, "held by anybody");
    }

    function testClaimsForSomebodyElse() external {
        uint256 id = mintSolar(1000);
        VM.prank(alice);
        certificates.transfer(carol, id, 500);
        VM.prank(carol);
        certificates.claim(id, 200, bob, "");
        claim(bob, mintForBob(), 100);
        VM.assertEq(certificates.claimedOf(bob, id), 200, "bob's");
        VM.assertEq(certificates.claimedOf(carol, id), 0, "not carol's");
        claim(alice, id, 500);
        VM.assertEq(certificates.claimedTotal(id), 700, "both");
    }

    function testClaimRefusals() external {
        uint256 id = mintSolar(1000);
        VM.startPrank(alice);
        VM.expectRevert(abi.encodeWithSelector(ICertificates.EnergyZero.selector, id));
        certificates.claim(id, 0, alice, "");
        VM.expectRevert(
            abi.encodeWithSelector(ICertificates.BeneficiaryInvalid.selector, address(0))
        );
        certificates.claim(id, 1, address(0), "");
        VM.expectRevert(
            abi.encodeWithSelector(
                ERC6909.ERC6909InsufficientBalance.selector, alice, 1000, 1001, id
            )
        );
        certificates.claim(id, 1001, alice, "");
    }

    /* UNITS AND CARBON */

    function testEnergyUnit() external {
        IEnergyToken.EnergyUnit memory unit = certificates.energyUnit(mintSolar(1000));
        VM.assertEq(unit.timestamp, START, "start");
        VM.assertEq(unit.amount, 1e18, "1 kWh");
        VM.assertEq(uint256(unit.sourceType), Sources.SOLAR, "source");
        VM.assertEq(unit.carbonCredits, 449, "490 - 41 g");
    }

    function testAvoidedEmissionsBySource() external {
        uint256[6] memory avoided = [uint256(0), 449, 478, 466, 260, 0];
        for (uint8 source = Sources.SOLAR; source <= Sources.STORAGE; ++source) {
            uint256 id = mint(alice, source, 200);
            VM.assertEq(certificates.energyUnit(id).carbonCredits, avoided[source] / 5, "grams");
            VM.assertEq(certificates.carbonCredits(id, 100), avoided[source] / 10, "of a half");
        }
    }

    function testPartsAreRoundedDownOnce() external {
        uint256 id = mintSolar(1000); // 449 mg a Wh
        VM.assertEq(certificates.carbonCredits(id, 0), 0, "none");
        VM.assertEq(certificates.carbonCredits(id, 2), 0, "898 mg");
        VM.assertEq(certificates.carbonCredits(id, 3), 1, "1347 mg");
        VM.assertEq(certificates.carbonCredits(id, 1000), 449, "449,000 mg");
        VM.expectRevert(
            abi.encodeWithSelector(ICertificates.CertificateExceeded.selector, id, 1001)
        );
        certificates.carbonCredits(id, 1001);
    }

    /* STORAGE */

    function testStorageCarriesItsMix() external {
        uint256[] memory ids = two(mintSolar(600), mint(alice, Sources.WIND, 400));
        waitAnInterval();
        allowCharging(alice);
        uint256 id = discharge(alice, 900, ids, two(600, 400));
        Certificate certificate = Certificate.wrap(id);
        VM.assertEq(uint256(certificate.source()), Sources.STORAGE, "source");
        VM.assertTrue(certificate.isStored(), "flag");
        VM.assertEq(certificate.intervalStart(), START + INTERVAL_S, "of the discharge");
        VM.assertEq(certificates.balanceOf(alice, id), 900, "issued");
        VM.assertEq(energyOf(alice), 1900, "and minted");
        _checkMix(id, Amounts(600, 400, 0, 0, 0));
        // 0.9 x (600 x 449 + 400 x 478) mg = 414,540 mg
        VM.assertEq(certificates.carbonCredits(id, 900), 414, "its mix's, Wh for Wh");
        VM.assertEq(certificates.energyUnit(id).carbonCredits, 414, "the unit says so");
        VM.assertEq(token.energyUnit(id).carbonCredits, 414, "the token too");
    }

    function testChargingUsesCertificatesUp() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        uint256 stored = discharge(alice, 100, id, 400);
        VM.assertEq(certificates.balanceOf(alice, id), 600, "the rest");
        VM.assertEq(certificates.storedTotal(id), 400, "stored");
        VM.assertEq(certificates.totalSupply(id), 600, "held by anybody");
        VM.assertEq(certificates.balanceOf(alice, stored), 100, "losses stay with the storage");
        VM.assertEq(certificates.totalSupply(stored), 100, "no more came back");
    }

    function testChargingIsShown() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        VM.recordLogs();
        uint256 stored = discharge(alice, 100, id, 400);
        Vm.Log[] memory logs = VM.getRecordedLogs();
        uint256 seen;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != Charged.selector) continue;
            ++seen;
            VM.assertEq(uint256(logs[i].topics[1]), stored, "what came back");
            VM.assertEq(uint256(logs[i].topics[2]), id, "charged with");
            VM.assertEq(abi.decode(logs[i].data, (uint256)), 400, "how much");
        }
        VM.assertEq(seen, 1, "once");
    }

    function testNoMoreComesBackThanWasCharged() external {
        uint256 id = mintSolar(1000);
        waitAnInterval();
        allowCharging(alice);
        VM.expectRevert(
            abi.encodeWithSelector(ICertificates.DischargeAboveCharge.selector, 401, 400)
        );
        discharge(alice, 401, id, 400);
        VM.expectRevert(abi.encodeWithSelector(ICertificates.DischargeAboveCharge.selector, 1, 0));
        discharge(alice, 1, new uint256[](0), new uint256[](0));
        discharge(alice, 400, id, 400);
    }

    function testStorageOfStorage() external {
        uint256[] memory ids = two(mintSolar(1000), mint(alice, Sources.BIOMASS, 500));
        allowCharging(alice);
        waitAnInterval();
        uint256 first = discharge(alice, 1200, ids, two(1000, 500)); // 2/3 solar, 1/3 biomass
        uint256 hydro = mint(alice, Sources.HYDRO, 100);
        waitAnInterval();
        uint256 second = discharge(alice, 800, two(first, hydro), two(900, 100));
        _checkMix(second, Amounts(600, 0, 100, 300, 0));
        // 0.8 x (600 x 449 + 100 x 466 + 300 x 260) mg = 315,200 mg
        VM.assertEq(certificates.carbonCredits(second, 800), 315, "of all three");
    }

    function testWhatWholeWhCannotSplitIsOfUnknownOrigin() external {
        uint256[] memory ids = two(mintSolar(1000), mint(alice, Sources.BIOMASS, 500));
        allowCharging(alice);
        waitAnInterval();
        uint256 first = discharge(alice, 1500, ids, two(1000, 500));
        waitAnInterval();
        uint256 second = discharge(alice, 100, first, 100); // 66.67 and 33.33 Wh
        _checkMix(second, Amounts(66, 0, 0, 33, 1));
        VM.assertEq(certificates.carbonCredits(second, 100), 38, "66 x 449 + 33 x 260 mg");
    }

    function testStorageWithoutCertificatesIsOfUnknownOrigin() external {
        uint256 unknown = mint(alice, Sources.STORAGE, 1000);
        _checkMix(unknown, Amounts(0, 0, 0, 0, 1000));
        uint256 solar = mintSolar(1000);
        _checkMix(solar, Amounts(1000, 0, 0, 0, 0));
        waitAnInterval();
        allowCharging(alice);
        uint256 id = discharge(alice, 1000, two(unknown, solar), two(500, 500));
        _checkMix(id, Amounts(500, 0, 0, 0, 500));
        VM.assertEq(certificates.carbonCredits(id, 1000), 224, "500 x 449 mg");
    }

    function testStorageSharesTheIntervalsCap() external {
        uint256 id = mintSolar(CAP_WH);
        waitAnInterval();
        allowCharging(alice);
        mintSolar(CAP_WH - 99);
        VM.expectRevert(
            abi.encodeWithSelector(EnergyToken.MintAboveCap.selector, alice, CAP_WH + 1, CAP_WH)
        );
        discharge(alice, 100, id, 200);
        discharge(alice, 99, id, 200);
    }

    function testStorageRefusals() external {
        uint256 id = mintSolar(1000);
        allowCharging(alice);
        VM.startPrank(oracle);
        VM.expectRevert(abi.encodeWithSelector(ICertificates.ChargeLengthsDiffer.selector, 1, 2));
        token.mintStoredEnergy(alice, WH, one(id), two(1, 1));
        VM.expectRevert(abi.encodeWithSelector(ICertificates.EnergyZero.selector, id));
        token.mintStoredEnergy(alice, WH, two(id, id), two(1, 0));
        VM.expectRevert(EnergyToken.AmountZero.selector);
        token.mintStoredEnergy(alice, 0, one(id), one(1));
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.AmountNotWholeWh.selector, WH + 1));
        token.mintStoredEnergy(alice, WH + 1, one(id), one(2));
        VM.expectRevert(abi.encodeWithSelector(EnergyToken.ProducerWithoutMeter.selector, carol));
        token.mintStoredEnergy(carol, WH, one(id), one(1));
        VM.stopPrank();
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", alice));
        VM.prank(alice);
        token.mintStoredEnergy(alice, WH, one(id), one(1));
    }

    function testMixOfTheNeverIssued() external {
        uint256 id = mintSolar(1000) + 1;
        bytes memory why = abi.encodeWithSelector(ICertificates.CertificateUnknown.selector, id);
        VM.expectRevert(why);
        certificates.mixOf(id);
        VM.expectRevert(why);
        certificates.carbonCredits(id, 1);
        VM.expectRevert(why);
        certificates.energyUnit(id);
        VM.expectRevert(why);
        token.energyUnit(id);
    }

    /* HELP */

    function mintForBob() private returns (uint256) {
        return mint(bob, Sources.WIND, 100);
    }

    function _checkMix(uint256 id, Amounts memory expected) private view {
        Amounts memory m;
        (m.solar, m.wind, m.hydro, m.biomass, m.unknown) = certificates.mixOf(id);
        VM.assertEq(m.solar, expected.solar, "solar");
        VM.assertEq(m.wind, expected.wind, "wind");
        VM.assertEq(m.hydro, expected.hydro, "hydro");
        VM.assertEq(m.biomass, expected.biomass, "biomass");
        VM.assertEq(m.unknown, expected.unknown, "unknown");
    }
}
