// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title GridManagementFuzz: the emergency against a slow model of it
/// forge-config: default.fuzz.runs = 256
contract GridManagementFuzz is Community {
    uint256 private constant NODE = 7;
    uint256 private constant STEPS = 12;

    bool private automatic;
    uint256 private reportedAt;
    uint256 private declaredUntil;

    function testFuzzTheEmergencyIsAsTheModelSays(uint256 seed) external {
        VM.startPrank(gridOperator);
        _report(0);
        for (uint256 i; i < STEPS; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            _stepModel();
            uint256 kind = seed % 4;
            if (kind == 0) _declare((seed >> 8) % (DECLARATION_MAX_S + 1));
            else if (kind == 1) VM.warp(block.timestamp + (seed >> 8) % (4 * INTERVAL_S));
            else _report(700 + (seed >> 8) % 400);
            _stepModel();
            bool expected = automatic || block.timestamp < declaredUntil;
            VM.assertTrue(grid.getGridStatus(NODE).emergencyStatus == expected, "emergency");
        }
    }

    /// @dev Time passed: what nobody renewed is over.
    function _stepModel() private {
        if (block.timestamp - reportedAt > 3 * INTERVAL_S) automatic = false;
    }

    /// @dev Of 1000 W; under 5 % free it starts, from 15 % free on it ends.
    function _report(uint256 loadW) private {
        grid.updateGridMetrics(NODE, loadW, 1000);
        reportedAt = block.timestamp;
        if (loadW > 950) automatic = true;
        if (loadW <= 850) automatic = false;
    }

    function _declare(uint256 durationS) private {
        if (durationS == 0) return;
        grid.declareEmergency(NODE, durationS);
        declaredUntil = block.timestamp + durationS;
    }
}
