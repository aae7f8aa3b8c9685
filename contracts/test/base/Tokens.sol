// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {
    ERC20TransferAuthorization
} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20TransferAuthorization.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Currencies as they occur, each with its trap
abstract contract OddToken is ERC20("Odd", "ODD") {
    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }

    function decimals() public pure virtual override returns (uint8) {
        return 6;
    }
}

/// @dev Keeps a hundredth of each transfer.
contract FeeToken is OddToken {
    function _update(address from, address to, uint256 value) internal override {
        uint256 fee = from == address(0) ? 0 : value / 100;
        super._update(from, to, value - fee);
        if (fee != 0) super._update(from, address(0xFEE), fee);
    }
}

/// @dev Says false instead of reverting, and moves nothing.
contract FalseToken is OddToken {
    bool public refusing;

    function refuse(bool on) external {
        refusing = on;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return refusing ? false : super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return refusing ? false : super.transferFrom(from, to, value);
    }
}

/// @dev Returns nothing, as USDT does.
contract SilentToken {
    mapping(address => uint256) public balanceOf;

    function mint(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function transfer(address to, uint256 value) external {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
    }

    function transferFrom(address from, address to, uint256 value) external {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}

/// @dev Calls back before each transfer, as ERC-777 lets a sender or receiver do.
contract CallbackToken is OddToken {
    address private target;
    bytes private data;
    bytes public answer;

    function callBack(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function _update(address from, address to, uint256 value) internal override {
        address called = target;
        target = address(0); // once
        if (called != address(0)) {
            (bool success, bytes memory result) = called.call(data);
            answer = success ? bytes("passed") : result;
        }
        super._update(from, to, value);
    }
}

/// @dev Knows ERC-3009, as USDC and EURC do.
contract AuthorizedToken is OddToken, ERC20TransferAuthorization {
    constructor() EIP712("Odd", "1") {}

    function receiveDigest(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce
    ) external view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    RECEIVE_WITH_AUTHORIZATION_TYPEHASH,
                    from,
                    to,
                    value,
                    validAfter,
                    validBefore,
                    nonce
                )
            )
        );
    }

    function decimals() public pure override(OddToken, ERC20) returns (uint8) {
        return 6;
    }
}

/// @dev Its issuer changes all balances at once.
contract RebasingToken is OddToken {
    uint256 private percent = 100;

    function rebase(uint256 newPercent) external {
        percent = newPercent;
    }

    function balanceOf(address account) public view override returns (uint256) {
        return super.balanceOf(account) * percent / 100;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value * 100 / percent);
    }
}
