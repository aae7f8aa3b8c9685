// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title IERC7943Fungible: who may hold a token of a real-world asset (ERC-7943, final: 0x3edbb4c4)
interface IERC7943Fungible is IERC165 {
    /// @notice Tokens were moved by the authority, not by their owner
    event ForcedTransfer(address indexed from, address indexed to, uint256 amount);

    /// @notice `amount` of an account's tokens are frozen now
    event Frozen(address indexed account, uint256 amount);

    error ERC7943CannotSend(address account);
    error ERC7943CannotReceive(address account);
    error ERC7943CannotTransfer(address from, address to, uint256 amount);
    error ERC7943InsufficientUnfrozenBalance(address account, uint256 amount, uint256 unfrozen);

    /// @notice Move an account's tokens without its consent, frozen ones too
    /// @dev Compliance role only. The receiver must be one that may receive.
    function forcedTransfer(address from, address to, uint256 amount) external returns (bool result);

    /// @notice Set how much of an account's tokens it cannot move; may be more than it holds
    /// @dev Compliance role only.
    function setFrozenTokens(address account, uint256 amount) external returns (bool result);

    /// @notice True when the account may send
    function canSend(address account) external view returns (bool allowed);

    /// @notice True when the account may receive
    function canReceive(address account) external view returns (bool allowed);

    /// @notice Frozen tokens of the account, perhaps more than it holds
    function getFrozenTokens(address account) external view returns (uint256 amount);

    /// @notice True when no rule forbids the transfer; says nothing about balance and allowance
    function canTransfer(address from, address to, uint256 amount)
        external
        view
        returns (bool allowed);
}
