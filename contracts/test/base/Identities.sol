// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";

/// @title Identity registries as they occur
contract Identities is IIdentityRegistry {
    mapping(address account => bool) internal _verified;

    function verify(address account, bool on) external {
        _verified[account] = on;
    }

    function isVerified(address account) external view virtual returns (bool) {
        return _verified[account];
    }
}

/// @dev Walks a long list of claims before it answers.
contract CostlyIdentities is Identities {
    uint256 private immutable _gas;

    constructor(uint256 gas) {
        _gas = gas;
    }

    function isVerified(address account) external view override returns (bool) {
        uint256 until = gasleft() - _gas;
        while (gasleft() > until) {}
        return _verified[account];
    }
}

/// @dev Answers with whatever bytes it was made with, or reverts with them.
contract OddIdentities {
    bytes private _answer;
    bool private immutable _reverts;

    constructor(bytes memory answer, bool reverts) {
        _answer = answer;
        _reverts = reverts;
    }

    function isVerified(address) external view {
        bytes memory answer = _answer;
        bool reverts = _reverts;
        assembly ("memory-safe") {
            if reverts { revert(add(answer, 32), mload(answer)) }
            return(add(answer, 32), mload(answer))
        }
    }
}
