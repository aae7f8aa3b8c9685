// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title Contract accounts that trade, each with its trap for whoever pays it
/// @dev Takes a payment whatever it costs: less than 100,000 gas.
contract BusyTrader {
    uint256[3] public written;

    receive() external payable {
        (written[0], written[1], written[2]) = (msg.value, block.timestamp, 1);
    }
}

/// @dev Burns all the gas that it is given.
contract GasBurner {
    receive() external payable {
        assembly ("memory-safe") {
            invalid()
        }
    }
}

/// @dev Calls back when it is paid.
contract ReentrantTrader {
    address private target;
    bytes private data;
    bytes public answer;

    function callBack(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    receive() external payable {
        (bool success, bytes memory result) = target.call(data);
        answer = success ? bytes("passed") : result;
    }
}

/// @dev A token, of energy or money, that calls back in each transfer until it is told not to, and
/// refuses some accounts.
contract CallingToken is ERC20("Calling", "CALL") {
    address private target;
    bytes private data;
    bool private inCall;
    bytes public answer;
    mapping(address account => bool) public refused;

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }

    function refuse(address account, bool on) external {
        refused[account] = on;
    }

    /// @dev The market asks before a match; who is refused learns it from the transfer.
    function canSend(address) external pure returns (bool) {
        return true;
    }

    function canReceive(address) external pure returns (bool) {
        return true;
    }

    function callBack(address target_, bytes calldata data_) external {
        (target, data, answer) = (target_, data_, "");
    }

    function _update(address from, address to, uint256 value) internal override {
        require(!refused[to], "refused");
        if (target != address(0) && !inCall) {
            inCall = true;
            (bool success, bytes memory result) = target.call(data);
            answer = success ? bytes("passed") : result;
            inCall = false;
        }
        super._update(from, to, value);
    }
}
