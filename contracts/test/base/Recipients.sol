// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev An account that takes no native currency.
contract Unpayable {
    function call(address target, uint256 value, bytes calldata data)
        external
        payable
        returns (bytes memory)
    {
        (bool success, bytes memory result) = target.call{value: value}(data);
        require(success, "the call failed");
        return result;
    }
}
