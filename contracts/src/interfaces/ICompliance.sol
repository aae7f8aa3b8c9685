// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title ICompliance: who may give and get energy, and how much; what ledger and token ask
interface ICompliance {
    /// @notice True when the account may give energy away now (ERC-7943)
    function canSend(address account) external view returns (bool);

    /// @notice True when the account may get energy now (ERC-7943)
    function canReceive(address account) external view returns (bool);

    /// @notice True when no rule and no freeze forbids this transfer of token units now (ERC-7943);
    /// whether they are there is not asked
    function canTransfer(address from, address to, uint256 amount) external view returns (bool);

    /// @notice Token units of the account that may not be moved (ERC-7943); may exceed its balance
    function getFrozenTokens(address account) external view returns (uint256 amount);

    /// @notice Freeze so many token units of the account, in place of what was frozen before
    /// @dev The ledger's energy token only, which checks who may and tells it as ERC-7943 wants.
    function setFrozenTokens(address account, uint256 amount) external;

    /// @notice Book a settled batch against the market's rules; reverts, naming the account, when one
    /// is broken
    /// @dev The ledger only, and only in markets that have batch rules; `rows` as `settleBatch` got them.
    function afterBatch(uint64 deliveryStart, bytes calldata rows) external;
}
