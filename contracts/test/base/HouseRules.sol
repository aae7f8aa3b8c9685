// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ICompliance} from "../../src/interfaces/ICompliance.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";

/// @title HouseRules: a small compliance contract, every rule of which a test sets on its own
contract HouseRules is ICompliance {
    error Broken();

    IEnergyLedger private immutable ledger;
    mapping(address => bool) private barredFromSending;
    mapping(address => bool) private barredFromReceiving;
    mapping(address => uint256) private frozen;
    uint256 private most = type(uint256).max;
    bool private broken;

    constructor(IEnergyLedger ledger_) {
        ledger = ledger_;
    }

    function bar(address account, bool sending, bool receiving) external {
        (barredFromSending[account], barredFromReceiving[account]) = (sending, receiving);
    }

    function setMost(uint256 amount) external {
        most = amount;
    }

    function setFlags(address account, uint8 flags) external {
        ledger.setAccountFlags(account, flags);
    }

    function breakDown() external {
        broken = true;
    }

    function setFrozenTokens(address account, uint256 amount) public virtual {
        require(msg.sender == ledger.energyToken(), "the token only");
        frozen[account] = amount;
    }

    function afterBatch(uint64, bytes calldata) external {}

    function canTransfer(address from, address to, uint256 amount) external view returns (bool) {
        (uint256 energyWh,,,,) = ledger.accountOf(from);
        uint256 free = energyWh * 1e15;
        if (frozen[from] != 0) {
            free = frozen[from] < free ? free - frozen[from] : 0;
            if (amount > free) return false;
        }
        return amount <= most && canSend(from) && canReceive(to);
    }

    function getFrozenTokens(address account) external view returns (uint256) {
        _work();
        return frozen[account];
    }

    function canSend(address account) public view returns (bool) {
        _work();
        return !barredFromSending[account];
    }

    function canReceive(address account) public view returns (bool) {
        _work();
        return !barredFromReceiving[account];
    }

    function _work() private view {
        if (broken) revert Broken();
    }
}

/// @dev Calls the token back when it is told of a freeze, and keeps what that gave.
contract CallbackRules is HouseRules {
    address private immutable target;
    bytes private data;
    bytes public answer;

    constructor(IEnergyLedger ledger_, address target_) HouseRules(ledger_) {
        target = target_;
    }

    function callBack(bytes calldata data_) external {
        data = data_;
    }

    function setFrozenTokens(address account, uint256 amount) public override {
        super.setFrozenTokens(account, amount);
        (bool success, bytes memory result) = target.call(data);
        answer = success ? bytes("passed") : result;
    }
}

/// @dev A compliance contract whose answers are no booleans: 64 bytes, whatever is asked.
contract Babbler {
    fallback() external {
        assembly ("memory-safe") {
            mstore(0, 1)
            mstore(0x20, 1)
            return(0, 0x40)
        }
    }
}

/// @dev Answers everything with two, which is no boolean.
contract Mumbler {
    fallback() external {
        assembly ("memory-safe") {
            mstore(0, 2)
            return(0, 0x20)
        }
    }
}

/// @dev Fails with what would be true if it were an answer.
contract Grudger {
    fallback() external {
        assembly ("memory-safe") {
            mstore(0, 1)
            revert(0, 0x20)
        }
    }
}
