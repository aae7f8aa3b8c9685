// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;
import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";
contract TmpTest is Community {
    function testOne() external {
        TestOrder[] memory orders = new TestOrder[](8);
        for (uint256 i; i < 8; ++i) {
            orders[i] = i % 2 == 0 ? Batches.sell(i+100, 1500, PRICE - 1000, PRICE) : Batches.buy(i+100, 1500, PRICE + 1000, PRICE);
            fund(VM.addr(orders[i].key));
        }
        settle(START, orders);
    }
}
