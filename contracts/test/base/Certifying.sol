// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Sources} from "../../src/libraries/Sources.sol";
import {Community} from "./Community.sol";
import {VM} from "./Vm.sol";

/// @title Certifying: a community whose members have meters, and the oracle's mints
abstract contract Certifying is Community {
    uint256 internal constant WH = 1e15;
    uint256 internal constant CAP_WH = uint256(EXPORT_LIMIT_W) * INTERVAL_S / 3600;

    function setUp() public virtual override {
        super.setUp();
        register(METER, ALICE);
        register(METER + 1, BOB);
    }

    /// @dev Mint for the interval that ended last.
    function mint(address producer, uint8 source, uint256 energyWh) internal returns (uint256 id) {
        VM.prank(oracle);
        return token.mintEnergyTokens(producer, energyWh * WH, source);
    }

    function mintSolar(uint256 energyWh) internal returns (uint256 id) {
        return mint(alice, Sources.SOLAR, energyWh);
    }

    /// @dev Mint what storage gave back that was charged with one certificate.
    function discharge(address producer, uint256 energyWh, uint256 id, uint256 chargedWh)
        internal
        returns (uint256)
    {
        return discharge(producer, energyWh, one(id), one(chargedWh));
    }

    function discharge(
        address producer,
        uint256 energyWh,
        uint256[] memory ids,
        uint256[] memory energiesWh
    ) internal returns (uint256 id) {
        VM.prank(oracle);
        return token.mintStoredEnergy(producer, energyWh * WH, ids, energiesWh);
    }

    /// @dev Let the token charge storage with any of the account's certificates.
    function allowCharging(address producer) internal {
        VM.prank(producer);
        certificates.setOperator(address(token), true);
    }

    function claim(address owner, uint256 id, uint256 energyWh) internal {
        VM.prank(owner);
        certificates.claim(id, energyWh, owner, "");
    }

    function waitAnInterval() internal {
        VM.warp(block.timestamp + INTERVAL_S);
    }

    function one(uint256 value) internal pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = value;
    }

    function two(uint256 first, uint256 second) internal pure returns (uint256[] memory list) {
        list = new uint256[](2);
        (list[0], list[1]) = (first, second);
    }
}
