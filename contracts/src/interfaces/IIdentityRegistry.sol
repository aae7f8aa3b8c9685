// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IIdentityRegistry: the one function that is used of an ERC-3643 identity registry
interface IIdentityRegistry {
    /// @notice True when the account has an identity with the claims that the registry asks for
    function isVerified(address account) external view returns (bool);
}
